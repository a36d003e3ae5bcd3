"""Files that are whole or not there, also after a power cut; and folders that one process has for itself."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4


def sync(path: Path) -> None:
    """Makes a file's content, or a folder's names, outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lock(handle: int) -> bool:
    """Locks an open file for whoever opened it; False where somebody else has.

    It ends with the handle, so a process that is killed leaves no lock behind.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Writes a file under a hidden name, then renames it. Its folder is still to be synced.

    Raises:
        OSError: it cannot be written; nothing is left over.
    """
    draft = path.with_name(f".{uuid4().hex}.tmp")
    try:
        with draft.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
