"""Blobs: frames, heatmaps, previews and model artifacts, named by the SHA-256 of their bytes.

A blob is written before the transaction that names it: its row first (`pending`), then its bytes, then the row is
`stored`. What a crash leaves over is a row that says so; agent.store.sweep deletes it, and what nobody names any more.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.failpoints import passing
from agent.settings import Blobs
from agent.store.engine import writing
from agent.store.errors import Conflict, StoreError
from agent.store.rows import insert
from agent.store.tables import blob

_SHA256 = re.compile("[0-9a-f]{64}")
WAITS = 20  # for the sweeper to finish deleting, half a second each
NAMED_WITHIN = timedelta(hours=1)  # whoever names a blob later than this after it was kept must hold it


class BlobMissing(StoreError):
    """There are no bytes of that hash."""


class BlobCorrupt(StoreError):
    """The bytes found are not those that were put."""


class BlobTooLarge(StoreError):
    """There are more bytes than were asked for."""


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

    def size(self, sha256: str) -> int | None:
        """How many bytes of that hash are there, unchecked; None where there are none.

        Raises:
            Unreachable: it cannot be said now.
        """
        ...

    def delete(self, sha256: str) -> None:
        """Deletes the bytes of that hash for good; nothing happens where there are none.

        Raises:
            Unreachable: it cannot be done now.
        """
        ...

    @property
    def location(self) -> str:
        """Its URL, such as `s3://bucket/folder`; what is in it has `location/KEY`."""
        ...

    def read(self, key: str, most: int) -> bytes:
        """What somebody else put under a key, at most that many bytes.

        Args:
            key: parts joined by `/`; none of them empty, `.` or `..`.
            most: bytes.

        Raises:
            BlobMissing: it is not there, or this one key is refused while the store serves others.
            BlobTooLarge, Unreachable: it cannot be had.
        """
        ...


def open_blobs(settings: Blobs) -> BlobStore:
    """The store that the section [blobs] names.

    Raises:
        StoreError: it cannot be one.
    """
    if not settings.url:
        from agent.store.local_blobs import LocalBlobs

        return LocalBlobs(settings.directory)
    from agent.store.s3_blobs import S3Blobs

    return S3Blobs(settings.url, endpoint=settings.endpoint)


def checked_name(sha256: str) -> str:
    """`ab/cd/abcd...`, under which a store keeps the bytes of that hash.

    Raises:
        BlobMissing: it is no SHA-256.
    """
    if not _SHA256.fullmatch(sha256):
        raise BlobMissing("{name!r} is not a SHA-256", name=sha256[:80])
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def checked(data: bytes, sha256: str, where: str) -> bytes:
    """The bytes found, if they are those that were put.

    Raises:
        BlobCorrupt: they are not.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BlobCorrupt("{where} does not hold what its name says; restore it from a backup", where=where)
    return data


def fitting(data: bytes, most: int, key: str) -> bytes:
    """The bytes, if they are not too many.

    Raises:
        BlobTooLarge: they are.
    """
    if len(data) > most:
        raise BlobTooLarge("{key} has more than {most} bytes", key=key, most=most)
    return data


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
            raise Conflict("the blob {sha256} is being deleted: try again later", sha256=deleting[0])
        sleep(0.5)
    passing("blob.pending")
    for data, media_type in rows.values():
        store.put(data, media_type)
    passing("blob.put")
    with writing(engine) as conn:
        conn.execute(sa.update(blob).where(blob.c.sha256.in_(rows), blob.c.state == "pending").values(state="stored"))
    passing("blob.stored")
    return [hashlib.sha256(data).hexdigest() for data, _ in blobs]


def hold(conn: Connection, hashes: Collection[str], now: datetime) -> bool:
    """Keeps stored blobs from the sweeper, in the transaction that names them; False where one of them is gone.

    The sweeper takes what nobody named for a day. Whoever names a blob within NAMED_WITHIN of keeping it is far from
    that; whoever had to wait longer, such as for a database that was away, calls this first.
    """
    statement = sa.update(blob).where(blob.c.sha256.in_(hashes), blob.c.state == "stored").values(touched_at=now)
    return conn.execute(statement).rowcount == len(set(hashes))


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
