"""Changeovers: from which offset on a station runs another product, where its frames name none.

A change voids every claim (`offsets.void_all`) in the transaction that records where each partition is. What was
committed before was decided by the old product; whoever has read further cannot commit it, claims the partition again
and looks up anew what the station runs. So an offset has one product, whoever reads it, however often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import offsets
from agent.store.offsets import Position
from agent.store.rows import update_one
from agent.store.stations import Station
from agent.store.tables import changeover, station


@dataclass(frozen=True, slots=True)
class Span:
    """What a station runs from offset `start` up to before `end` (None: the last known); product None: nothing set."""

    product_id: int | None
    start: int
    end: int | None

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset and (self.end is None or offset < self.end)


def change(conn: Connection, before: Station, product_id: int, now: datetime) -> Sequence[Position]:
    """Lets a station run another product; does nothing where it runs that one.

    Args:
        conn: a writing transaction; take the audit trail's turn before, so that `before` still holds.
        before: the station as this transaction read it.
        product_id: what it runs from now on.
        now: the time.

    Returns:
        Where the new product begins, for each partition that was ever read; in others it begins with the first frame.
    """
    if product_id == before.product_id:
        return []
    positions = offsets.void_all(conn)
    rows = [
        {
            "station_id": before.id,
            "stream_id": one.stream_id,
            "partition": one.partition,
            "from_offset": one.next_offset,
            "product_id": product_id,
            "previous_product_id": before.product_id,
            "created_at": now,
        }
        for one in positions
    ]
    if rows:
        conn.execute(sa.insert(changeover), rows)
    update_one(conn, station, before.id, product_id=product_id)
    return positions


def span(conn: Connection, station_id: int, stream_id: int, partition: int, offset: int) -> Span:
    """What the station runs at an offset, and between which offsets that is so.

    The latest change at or before the offset counts: a change from a smaller offset than an earlier one's (a partition
    that was set back) holds for all that follow. It stays true while the claim under which it is read is valid.
    """
    row = changeover.c
    here = sa.select(row.id, row.from_offset, row.product_id, row.previous_product_id).where(
        row.station_id == station_id, row.stream_id == stream_id, row.partition == partition
    )
    last = conn.execute(here.where(row.from_offset <= offset).order_by(row.id.desc()).limit(1)).one_or_none()
    later = here.where(row.from_offset > offset, row.id > (last.id if last else 0))
    end = conn.execute(later.order_by(row.from_offset).limit(1)).one_or_none()
    if last:
        return Span(last.product_id, last.from_offset, end.from_offset if end else None)
    if end is None:
        runs = conn.execute(sa.select(station.c.product_id).where(station.c.id == station_id)).scalar_one()
        return Span(runs, 0, None)
    first = conn.execute(later.order_by(row.id).limit(1)).one()
    return Span(first.previous_product_id, 0, end.from_offset)
