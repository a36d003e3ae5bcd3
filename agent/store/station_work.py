"""What each station has for people: how much waits for them, and the newest picture that they have judged.

Both cost the same however long the queue is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import items
from agent.store.tables import ITEM_PICTURED, item, station


@dataclass(frozen=True, slots=True)
class Picture:
    """The newest judged frame of a station that has a picture, whatever it was kept for."""

    sha256: str
    heatmap: bool  # whether it lies under its heatmap
    at: datetime


def waiting(conn: Connection, most: int) -> dict[int, int]:
    """How many items of each station are not closed, counted up to `most`, by station id."""
    some = items.of_queue(sa.select(item.c.id), None, None).where(
        item.c.station_id == station.c.id, item.c.state.in_(("open", "escalated"))
    )
    count = sa.select(sa.func.count()).select_from(some.limit(most).correlate(station).subquery()).scalar_subquery()
    return {station_id: n for station_id, n in conn.execute(sa.select(station.c.id, count)) if n}


def pictures(conn: Connection) -> dict[int, Picture]:
    """The newest one of each station that has any, by station id.

    Only of items that people have closed. A newer one that waits tells what it is to who counts the flagged frames
    beside it: where a picture comes and the count stays, the model passed a part that was drawn for the audit.
    """
    row = item.c
    newest = (
        sa.select(row.id).where(row.station_id == station.c.id, ITEM_PICTURED).order_by(row.id.desc()).limit(1)
    ).scalar_subquery()
    ids = conn.execute(sa.select(newest).select_from(station)).scalars().all()
    query = sa.select(row.station_id, row.overlay_sha256, row.preview_sha256, row.event_at)
    found = conn.execute(query.where(row.id.in_([one for one in ids if one is not None])))
    return {one.station_id: Picture(one[1] or one[2], one[1] is not None, one.event_at) for one in found}
