"""The sweeper: deletes blobs that no row names and that nobody has touched for a day.

Three steps, each committed before the next: the row is marked `deleting`, the bytes are deleted, the row is deleted.
After a crash the row says what is left to do, and a later sweep takes it up. Rows come before bytes and go after them,
so there are no bytes without a row to look for, unless somebody set the database back to an older state.

Why no blob that is named can be lost:

- A blob is kept (its row touched) right before the transaction that names it; one that comes more than
  `blobs.NAMED_WITHIN` later holds it (`blobs.hold`), which touches it again or says that it is gone. Marking needs a
  row untouched for UNTOUCHED, so it never meets a transaction that is about to name the blob.
- On PostgreSQL a foreign key's check takes KEY SHARE on the blob's row, and an UPDATE of `state` would run beside it.
  So marking first takes FOR UPDATE, passes over rows that anyone holds, and only then, in a statement of its own with
  a state of the database of its own, looks for names. On SQLite writers take turns.
- `blobs.keep` of the same bytes touches the row and so comes before the mark, or finds it and waits for the end.
- A sweeper that was frozen between marking and deleting does not delete: it does so within DELETE_WITHIN of its mark,
  and another one takes the row up only after ABANDONED, with a mark of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Engine

from agent.failpoints import passing
from agent.store.blobs import BlobStore
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.references import Page, named, page_after
from agent.store.rows import chunks
from agent.store.tables import blob

UNTOUCHED = timedelta(hours=24)
ABANDONED = timedelta(minutes=2)  # a mark this old is nobody's any more
DELETE_WITHIN = timedelta(minutes=1)  # of marking; one delete takes half a minute at most
CHUNK = 100  # rows of one writing transaction, about 10 ms on SQLite
THREADS = 8  # a delete is a round trip, or a sync of a folder


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: rows looked at, blobs deleted and their bytes."""

    looked: int = 0
    deleted: int = 0
    bytes: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.looked + other.looked, self.deleted + other.deleted, self.bytes + other.bytes)


class Sweeper:
    """Goes through all blobs by hash, round and round; one thread at a time. Others may sweep the same blobs.

    Args:
        engine: the database.
        store: where the bytes are.
        clock: the time; the same as that of whoever keeps blobs.
        stopping: asked between chunks; true ends the sweep.
    """

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        *,
        clock: Callable[[], datetime],
        stopping: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._store, self._clock = engine, store, clock
        self._stopping, self._monotonic = stopping, monotonic
        self._after = ""

    def sweep(self, for_s: float | None = None, on_page: Callable[[int], None] = lambda _: None) -> Swept:
        """Goes on where the last sweep stopped, to the end of the hashes at most.

        Args:
            for_s: about so many seconds at most; None: to the end.
            on_page: hears after each page how many rows were on it.

        Raises:
            StoreError: database or store are away; the next sweep takes up what was begun, after ABANDONED.
        """
        until = None if for_s is None else self._monotonic() + for_s
        done = Swept()
        while not self._stopping() and (until is None or self._monotonic() < until):
            with reading(self._engine) as conn:
                page = page_after(conn, self._after)
                due = _due(conn, page, self._clock()) if page else []
            if page is None:
                self._after = ""
                break
            for chunk in chunks(due, CHUNK):
                if self._stopping():
                    return done
                done += self._delete(chunk)
            self._after = page.last
            done += Swept(looked=page.n)
            on_page(page.n)
        return done

    def _delete(self, hashes: Sequence[str]) -> Swept:
        now = self._clock()
        with writing(self._engine) as conn:
            mine = _mark(conn, hashes, now)
        if not mine:
            return Swept()
        passing("sweep.marked")

        def delete(sha256: str) -> None:
            if self._clock() - now > DELETE_WITHIN:
                raise StoreError("deleting blobs takes too long; a later sweep goes on")
            self._store.delete(sha256)

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(delete, mine))
        passing("sweep.deleted")
        with writing(self._engine) as conn:
            sizes = _forget(conn, mine, now)
        passing("sweep.forgotten")
        return Swept(deleted=len(sizes), bytes=sum(sizes))


def _old(now: datetime) -> ColumnElement[bool]:
    marked = blob.c.state == "deleting"
    return sa.case((marked, blob.c.touched_at < now - ABANDONED), else_=blob.c.touched_at < now - UNTOUCHED)


def _due(conn: Connection, page: Page, now: datetime) -> list[str]:
    query = sa.select(blob.c.sha256).where(page.holds(blob.c.sha256), _old(now))
    return list(conn.execute(query.where(blob.c.sha256.not_in(named(page.holds)))).scalars())


def _mark(conn: Connection, hashes: Sequence[str], now: datetime) -> list[str]:
    """Marks those that are still due; they are the caller's to delete."""
    free = sa.select(blob.c.sha256).where(blob.c.sha256.in_(hashes)).with_for_update(skip_locked=True)
    mine = list(conn.execute(free).scalars())
    unnamed = blob.c.sha256.not_in(named(lambda column: column.in_(mine)))
    statement = sa.update(blob).where(blob.c.sha256.in_(mine), _old(now), unnamed)
    return list(conn.execute(statement.values(state="deleting", touched_at=now).returning(blob.c.sha256)).scalars())


def _forget(conn: Connection, hashes: Sequence[str], marked_at: datetime) -> list[int]:
    """Deletes rows under one's own mark; returns their bytes."""
    mine = blob.c.sha256.in_(hashes), blob.c.state == "deleting", blob.c.touched_at == marked_at
    # A name that should not be there must not keep the others from their end; `goodpart blobs check` shows it.
    unnamed = blob.c.sha256.not_in(named(lambda column: column.in_(hashes)))
    return list(conn.execute(sa.delete(blob).where(*mine, unnamed).returning(blob.c.bytes)).scalars())
