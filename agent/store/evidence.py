"""Letting evidence go: closed items and dead letters that name their blobs no longer. The sweeper does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from agent.store import dead_letters
from agent.store.references import OF_EVIDENCE, OF_ITEMS, Page, named
from agent.store.tables import blob, dead_letter, item, item_vector, sample, teaching
from agent.store.teachings import UNFINISHED


@dataclass(frozen=True, slots=True, order=True)
class Old:
    """An item or a dead letter that names evidence; the oldest comes first, and an item before its dead letter."""

    created_at: datetime
    is_letter: bool
    id: int


def releasable(conn: Connection, *, after: int = 0, limit: int, closed_before: datetime | None = None) -> list[Old]:
    """Items whose evidence may go, oldest first.

    They are closed and not pinned, no sample is of them or of their frame, and no product is being taught from them.

    Args:
        conn: any transaction.
        after: only ids above this one.
        limit: at most so many.
        closed_before: only those closed before; None: all.
    """
    query = sa.select(item.c.id, item.c.created_at).where(item.c.id > after, _may_go())
    if closed_before is not None:
        query = query.where(item.c.closed_at < closed_before)
    return [Old(row.created_at, False, row.id) for row in conn.execute(query.order_by(item.c.id).limit(limit))]


def releasable_letters(
    conn: Connection, *, after: int = 0, limit: int, created_before: datetime | None = None
) -> list[Old]:
    """Dead letters that have their bytes, oldest first, but those of an item whose evidence must stay: nothing is won.

    Args:
        conn: any transaction.
        after: only ids above this one.
        limit: at most so many.
        created_before: only those from before then; None: all.
    """
    row = dead_letter.c
    query = sa.select(row.id, row.created_at).where(row.id > after, _has_bytes(), ~_of_one_that_stays())
    if created_before is not None:
        query = query.where(row.created_at < created_before)
    return [Old(one.created_at, True, one.id) for one in conn.execute(query.order_by(row.id).limit(limit))]


def release(conn: Connection, ids: Sequence[int], now: datetime) -> tuple[int, set[str]]:
    """Lets the evidence of these items go, where it still may: how many, and the blobs that they named."""
    # Locked first: whoever reviews an item holds it, and what they left must be seen by the statement that lets go.
    conn.execute(sa.select(item.c.id).where(item.c.id.in_(ids)).order_by(item.c.id).with_for_update())
    rows = conn.execute(sa.select(item.c.id, *OF_ITEMS).where(item.c.id.in_(ids), _may_go())).all()
    nothing = dict.fromkeys((column.name for column in OF_ITEMS), None)
    mine = item.c.id.in_([row.id for row in rows])
    conn.execute(sa.update(item).where(mine).values(**nothing, released_at=now))
    conn.execute(sa.delete(item_vector).where(item_vector.c.item_id.in_([row.id for row in rows])))
    return len(rows), {sha256 for row in rows for sha256 in row[1:] if sha256}


def release_letters(
    conn: Connection, ids: Sequence[int], needed: Callable[[Connection], Collection[int]] = lambda _: ()
) -> tuple[int, set[str]]:
    """As `release`, of dead letters; headers and hash stay.

    Args:
        conn: a writing transaction.
        ids: of the letters.
        needed: the ids of those that somebody is at, whose bytes stay.
    """
    row = dead_letter.c
    dead_letters.lock(conn, ids)  # as whoever asks for a replay does: what is needed is then known
    free = set(ids).difference(needed(conn))
    names = sa.select(row.id, row.blob_sha256, row.preview_sha256)
    rows = conn.execute(names.where(row.id.in_(free), _has_bytes(), ~_of_one_that_stays())).all()
    mine = row.id.in_([one.id for one in rows])
    conn.execute(sa.update(dead_letter).where(mine).values(blob_sha256=None, preview_sha256=None))
    return len(rows), {sha256 for one in rows for sha256 in one[1:] if sha256}


def unnamed_bytes(conn: Connection, hashes: Collection[str]) -> int:
    """Bytes of those of these blobs that neither an item nor a dead letter names any more."""
    left = named(lambda column: column.in_(hashes), OF_EVIDENCE)
    query = sa.select(sa.func.sum(blob.c.bytes)).where(blob.c.sha256.in_(hashes), blob.c.sha256.not_in(left))
    return int(conn.execute(query).scalar_one() or 0)


def held_bytes(conn: Connection, page: Page) -> int:
    """Bytes of the blobs of a page that items or dead letters name, each counted once."""
    query = sa.select(sa.func.sum(blob.c.bytes)).where(
        page.holds(blob.c.sha256), blob.c.sha256.in_(named(page.holds, OF_EVIDENCE))
    )
    return int(conn.execute(query).scalar_one() or 0)


def _has_bytes() -> ColumnElement[bool]:
    return dead_letter.c.blob_sha256.is_not(None)


def _of_one_that_stays() -> ColumnElement[bool]:
    return sa.exists().where(item.c.frame_sha256 == dead_letter.c.blob_sha256, ~_may_go())


def _may_go() -> ColumnElement[bool]:
    of_it = sa.exists().where(sample.c.item_id == item.c.id)
    of_its_frame = sa.exists().where(sample.c.blob_sha256 == item.c.frame_sha256)
    taught = sa.exists().where(
        item.c.kind == "teach", teaching.c.product_id == item.c.product_id, teaching.c.state.in_(UNFINISHED)
    )
    return sa.and_(
        item.c.state == "closed", item.c.pinned.is_(False), item.c.released_at.is_(None), ~of_it, ~of_its_frame, ~taught
    )
