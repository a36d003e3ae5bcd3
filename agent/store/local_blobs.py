"""Blobs in a folder of this host, and in memory for tests."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path
from threading import Lock

from agent.files import sync, write_whole
from agent.store.blobs import BlobMissing, checked, checked_name, fitting
from agent.store.errors import Unreachable

# What is wrong with one key, or with what lies there, and not with the folder.
_OF_KEY = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_REFUSED = {errno.EACCES, errno.EPERM}
DRAFT_S = 86400.0  # a draft this old is of a process that was killed


class LocalBlobs:
    """A folder of this host: `ab/cd/abcd...`, each file written whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        try:
            if not self._whole(path, len(data)):
                self._make_folders(path.parent)
                write_whole(path, (data,))
            # Also where the file was there: whoever renamed it may not have come to this yet.
            sync(path.parent)
        except OSError as error:
            raise Unreachable(
                "{folder} cannot be written: {problem}; check blobs.directory",
                folder=path.parent,
                problem=error.strerror,
            ) from error
        return sha256

    def get(self, sha256: str) -> bytes:
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(
                "the blob {sha256} is not in {folder}; restore it from a backup", sha256=sha256, folder=self._directory
            ) from None
        except OSError as error:
            raise Unreachable(
                "{path} cannot be read: {problem}; check blobs.directory", path=path, problem=error.strerror
            ) from error
        return checked(data, sha256, str(path))

    def size(self, sha256: str) -> int | None:
        path = self._path(sha256)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable(
                "{path} cannot be read: {problem}; check blobs.directory", path=path, problem=error.strerror
            ) from error

    def delete(self, sha256: str) -> None:
        path = self._path(sha256)
        try:
            path.unlink(missing_ok=True)
            for draft in path.parent.glob(".*.tmp"):
                if time.time() - draft.stat().st_mtime > DRAFT_S:
                    draft.unlink(missing_ok=True)
            # Also where the file was gone: whoever removed it may not have come to this yet.
            if path.parent.is_dir():
                sync(path.parent)
        except OSError as error:
            raise Unreachable(
                "{path} cannot be deleted: {problem}; check blobs.directory", path=path, problem=error.strerror
            ) from error

    @property
    def location(self) -> str:
        return self._directory.resolve().as_uri()

    def read(self, key: str, most: int) -> bytes:
        path = self._directory / key
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            if error.errno in _OF_KEY or (error.errno in _REFUSED and self._is_open()):
                raise BlobMissing(
                    "there is no {key} in {folder} ({problem})", key=key, folder=self._directory, problem=error.strerror
                ) from None
            raise Unreachable(
                "{path} cannot be read: {problem}; check blobs.directory", path=path, problem=error.strerror
            ) from error
        return fitting(data, most, key)

    def _is_open(self) -> bool:
        try:
            os.scandir(self._directory).close()
        except OSError:
            return False
        return True

    def _path(self, sha256: str) -> Path:
        return self._directory / checked_name(sha256)

    def _whole(self, path: Path, size: int) -> bool:
        # A file of the wrong size can only be damage from outside; put mends it.
        try:
            return path.stat().st_size == size
        except OSError:
            return False

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


class MemoryBlobs:
    """Bytes in memory, for tests."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._lock = Lock()

    def put(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._blobs[sha256] = bytes(data)
        return sha256

    def put_by_key(self, key: str, data: bytes) -> None:
        """As a camera that puts its frames under names of its own."""
        with self._lock:
            self._blobs[key] = data

    def get(self, sha256: str) -> bytes:
        with self._lock:
            if sha256 not in self._blobs:
                raise BlobMissing("the blob {sha256} is not in memory", sha256=sha256)
            return self._blobs[sha256]

    @property
    def location(self) -> str:
        return "memory:///"

    def read(self, key: str, most: int) -> bytes:
        with self._lock:
            if key not in self._blobs:
                raise BlobMissing("there is no {key} in memory", key=key)
            return fitting(self._blobs[key], most, key)

    def size(self, sha256: str) -> int | None:
        with self._lock:
            return len(self._blobs[sha256]) if sha256 in self._blobs else None

    def delete(self, sha256: str) -> None:
        with self._lock:
            self._blobs.pop(sha256, None)
