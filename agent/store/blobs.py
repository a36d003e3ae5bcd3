"""Blobs: frames, heatmaps, previews and model artifacts, named by the SHA-256 of their bytes.

A blob is written before the transaction that names it: its row first (`pending`), then its bytes, then the row is
`stored`. What a crash leaves over is a row that says so.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.store.engine import writing
from agent.store.errors import Conflict, StoreError, Unreachable
from agent.store.rows import insert
from agent.store.tables import blob

_SHA256 = re.compile("[0-9a-f]{64}")
WAITS = 20  # for the sweeper to finish deleting, half a second each


class BlobMissing(StoreError):
    """There are no bytes of that hash."""


class BlobCorrupt(StoreError):
    """The bytes found are not those that were put."""


class BlobStore(Protocol):
    """Where bytes are kept by their SHA-256; safe to use from many threads and processes."""

    def put(self, data: bytes, media_type: str) -> str:
        """Keeps `data` durably and returns its SHA-256; putting it again changes nothing.

        Raises:
            Unreachable: it cannot be written now.
        """
        ...

    def get(self, sha256: str) -> bytes:
        """The bytes of that hash, checked against it.

        Raises:
            BlobMissing, BlobCorrupt, Unreachable: they cannot be had.
        """
        ...

    def exists(self, sha256: str) -> bool:
        """Whether bytes of that hash are there, unchecked."""
        ...


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
                self._write(path, data)
            # Also where the file was there: whoever renamed it may not have come to this yet.
            _sync_folder(path.parent)
        except OSError as error:
            raise Unreachable(f"{path.parent} cannot be written: {error.strerror}; check blobs.directory") from error
        return sha256

    def get(self, sha256: str) -> bytes:
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BlobMissing(f"the blob {sha256} is not in {self._directory}; restore it from a backup") from None
        except OSError as error:
            raise Unreachable(f"{path} cannot be read: {error.strerror}; check blobs.directory") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(f"{path} does not hold what its name says; restore it from a backup")
        return data

    def exists(self, sha256: str) -> bool:
        return self._path(sha256).is_file()

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise BlobMissing(f"{sha256[:80]!r} is not a SHA-256")
        return self._directory / sha256[:2] / sha256[2:4] / sha256

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
        _sync_folder(folder.parent)

    def _write(self, path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


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

    def get(self, sha256: str) -> bytes:
        with self._lock:
            if sha256 not in self._blobs:
                raise BlobMissing(f"the blob {sha256} is not in memory")
            return self._blobs[sha256]

    def exists(self, sha256: str) -> bool:
        with self._lock:
            return sha256 in self._blobs


def keep(engine: Engine, store: BlobStore, data: bytes, media_type: str, now: datetime) -> str:
    """Keeps one blob and its row; returns the SHA-256 that rows may name from now on.

    Raises:
        Unreachable: the database or the store does not answer.
        Conflict: the blob is being deleted, and that takes too long.
    """
    return keep_all(engine, store, [(data, media_type)], now)[0]


def keep_all(
    engine: Engine,
    store: BlobStore,
    blobs: Sequence[tuple[bytes, str]],
    now: datetime,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """As `keep`, for (data, media type) pairs, with two transactions for all of them together."""
    rows = {hashlib.sha256(data).hexdigest(): (data, media_type) for data, media_type in blobs}
    for left in range(WAITS, -1, -1):
        with writing(engine) as conn:
            deleting = [sha256 for sha256 in sorted(rows) if not _touch(conn, sha256, *rows[sha256], now)]
        if not deleting:
            break
        if not left:
            raise Conflict(f"the blob {deleting[0]} is being deleted: try again later")
        sleep(0.5)
    for data, media_type in rows.values():
        store.put(data, media_type)
    with writing(engine) as conn:
        conn.execute(sa.update(blob).where(blob.c.sha256.in_(rows), blob.c.state == "pending").values(state="stored"))
    return [hashlib.sha256(data).hexdigest() for data, _ in blobs]


def media_type(conn: Connection, sha256: str) -> str | None:
    """The media type of a stored blob; None where there is none."""
    query = sa.select(blob.c.media_type).where(blob.c.sha256 == sha256, blob.c.state == "stored")
    return conn.execute(query).scalar_one_or_none()


def _touch(conn: Connection, sha256: str, data: bytes, media_type: str, now: datetime) -> bool:
    statement = insert(conn, blob).values(
        sha256=sha256, bytes=len(data), media_type=media_type, state="pending", touched_at=now
    )
    statement = statement.on_conflict_do_update(
        index_elements=["sha256"],
        set_={"touched_at": statement.excluded.touched_at},
        where=blob.c.state != "deleting",
    )
    return conn.execute(statement.returning(blob.c.sha256)).scalar_one_or_none() is not None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
