"""Letting evidence go: closed items and dead letters that name their blobs no longer. The sweeper does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from agent.store.references import OF_ITEMS, Page, named
from agent.store.tables import blob, dead_letter, item, item_vector, sample, teaching
from agent.store.teachings import UNFINISHED


def releasable(conn: Connection, *, after: int = 0, limit: int, closed_before: datetime | None = None) -> list[int]:
    """Ids of items whose evidence may go, oldest first.

    They are closed and not pinned, no sample is of them or of their frame, and no product is being taught from them.

    Args:
        conn: any transaction.
        after: only ids above this one.
        limit: at most so many.
        closed_before: only those closed before; None: all.
    """
    query = sa.select(item.c.id).where(item.c.id > after, _may_go())
    if closed_before is not None:
        query = query.where(item.c.closed_at < closed_before)
    return list(conn.execute(query.order_by(item.c.id).limit(limit)).scalars())


def release(conn: Connection, ids: Sequence[int], now: datetime) -> tuple[int, int]:
    """Lets the evidence of these items go, where it still may: how many, and bytes that no item names any more."""
    # Locked first: whoever reviews an item holds it, and what they left must be seen by the statement that lets go.
    conn.execute(sa.select(item.c.id).where(item.c.id.in_(ids)).order_by(item.c.id).with_for_update())
    rows = conn.execute(sa.select(item.c.id, *OF_ITEMS).where(item.c.id.in_(ids), _may_go())).all()
    nothing = dict.fromkeys((column.name for column in OF_ITEMS), None)
    mine = item.c.id.in_([row.id for row in rows])
    conn.execute(sa.update(item).where(mine).values(**nothing, released_at=now))
    conn.execute(sa.delete(item_vector).where(item_vector.c.item_id.in_([row.id for row in rows])))
    hashes = {sha256 for row in rows for sha256 in row[1:] if sha256}
    left = named(lambda column: column.in_(hashes), OF_ITEMS)
    freed = sa.select(sa.func.sum(blob.c.bytes)).where(blob.c.sha256.in_(hashes), blob.c.sha256.not_in(left))
    return len(rows), int(conn.execute(freed).scalar_one() or 0)


def old_dead_letters(conn: Connection, before: datetime, limit: int) -> list[int]:
    """Ids of dead letters from before then that still have their bytes, oldest first."""
    row = dead_letter.c
    query = sa.select(row.id).where(row.blob_sha256.is_not(None), row.created_at < before)
    return list(conn.execute(query.order_by(row.id).limit(limit)).scalars())


def release_dead_letters(conn: Connection, ids: Sequence[int]) -> None:
    """Lets the bytes of dead letters go; headers and hash stay."""
    conn.execute(sa.update(dead_letter).where(dead_letter.c.id.in_(ids)).values(blob_sha256=None, preview_sha256=None))


def bytes_of_items(conn: Connection, page: Page) -> int:
    """Bytes of the blobs of a page that items name, each counted once."""
    query = sa.select(sa.func.sum(blob.c.bytes)).where(
        page.holds(blob.c.sha256), blob.c.sha256.in_(named(page.holds, OF_ITEMS))
    )
    return int(conn.execute(query).scalar_one() or 0)


def _may_go() -> ColumnElement[bool]:
    of_it = sa.exists().where(sample.c.item_id == item.c.id)
    of_its_frame = sa.exists().where(sample.c.blob_sha256 == item.c.frame_sha256)
    taught = sa.exists().where(
        item.c.kind == "teach", teaching.c.product_id == item.c.product_id, teaching.c.state.in_(UNFINISHED)
    )
    return sa.and_(
        item.c.state == "closed", item.c.pinned.is_(False), item.c.released_at.is_(None), ~of_it, ~of_its_frame, ~taught
    )
