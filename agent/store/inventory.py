"""Whether every blob that a row names is there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.engine import reading
from agent.store.references import Page, named, page_after
from agent.store.tables import blob

THREADS = 8


@dataclass(frozen=True, slots=True)
class Wrong:
    """A blob that a row names and that cannot be read, and why."""

    sha256: str
    problem: str


@dataclass(frozen=True, slots=True)
class _Named:
    sha256: str
    bytes: int
    state: str


def count(conn: Connection) -> int:
    """How many blobs have a row."""
    return conn.execute(sa.select(sa.func.count()).select_from(blob)).scalar_one()


def total_bytes(engine: Engine, stopping: Callable[[], bool] = lambda: False) -> int:
    """How many bytes they have, page by page: an agent may go on meanwhile; less where it was told to stop."""
    held, last = 0, ""
    while not stopping():
        with reading(engine) as conn:
            page = page_after(conn, last)
            if page is None:
                break
            held += conn.execute(sa.select(sa.func.sum(blob.c.bytes)).where(page.holds(blob.c.sha256))).scalar_one()
        last = page.last
    return held


def check(
    engine: Engine, store: BlobStore, *, deep: bool, on_page: Callable[[int], None] = lambda _: None
) -> list[Wrong]:
    """Looks at every blob that a row names; an agent may go on meanwhile.

    Args:
        engine: the database.
        store: where the bytes are.
        deep: read them and compare the hash; else only their number is compared.
        on_page: hears after each page how many rows were on it.

    Raises:
        StoreError: database or store are away.
    """
    wrong: list[Wrong] = []
    last = ""
    with ThreadPoolExecutor(THREADS) as threads:
        while True:
            with reading(engine) as conn:
                page = page_after(conn, last)
                rows = _named_on(conn, page) if page else []
            if page is None:
                return wrong
            found = [one for one in threads.map(lambda row: _look(store, row, deep), rows) if one]
            if found:
                with reading(engine) as conn:  # what was let go and swept meanwhile is not missing
                    still = {row.sha256 for row in _named_on(conn, page)}
                wrong += [one for one in found if one.sha256 in still]
            last = page.last
            on_page(page.n)


def _named_on(conn: Connection, page: Page) -> list[_Named]:
    query = sa.select(blob.c.sha256, blob.c.bytes, blob.c.state).where(
        page.holds(blob.c.sha256), blob.c.sha256.in_(named(page.holds))
    )
    return [_Named(*row) for row in conn.execute(query.order_by(blob.c.sha256))]


def _look(store: BlobStore, row: _Named, deep: bool) -> Wrong | None:
    if row.state != "stored":
        return Wrong(row.sha256, f"its row is {row.state}")
    try:
        size = len(store.get(row.sha256)) if deep else store.size(row.sha256)
    except BlobMissing:
        size = None
    except BlobCorrupt:
        return Wrong(row.sha256, "holds other bytes")
    if size is None:
        return Wrong(row.sha256, "is missing")
    return None if size == row.bytes else Wrong(row.sha256, f"has {size} bytes instead of {row.bytes}")
