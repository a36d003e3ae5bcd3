"""What each station has for people: how much waits for them, and its newest picture.

Both cost the same however long the queue is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import items
from agent.store.tables import item, station

STATES = ("open", "escalated", "closed")


@dataclass(frozen=True, slots=True)
class Picture:
    """The newest frame of a station that was kept with a picture, whatever it was kept for."""

    sha256: str
    heatmap: bool  # whether it lies under its heatmap
    at: datetime


def waiting(conn: Connection, most: int) -> dict[int, int]:
    """How many items of each station are not closed, counted up to `most`, by station id."""
    some = items.of_queue(sa.select(item.c.id), None, None).where(
        item.c.station_id == station.c.id, item.c.state.in_(STATES[:2])
    )
    count = sa.select(sa.func.count()).select_from(some.limit(most).correlate(station).subquery()).scalar_subquery()
    return {station_id: n for station_id, n in conn.execute(sa.select(station.c.id, count)) if n}


def pictures(conn: Connection) -> dict[int, Picture]:
    """The newest one of each station that has any, by station id."""
    row = item.c
    # By state and `watched`, as the index has it: the end of each stretch is looked at, and no more.
    newest = [
        sa.select(row.id)
        .where(row.station_id == station.c.id, row.state == state, row.watched.is_(watched))
        .where(row.preview_sha256.is_not(None))
        .order_by(row.id.desc())
        .limit(1)
        .scalar_subquery()
        for state in STATES
        for watched in (False, True)
    ]
    ids = [max(filter(None, found), default=None) for found in conn.execute(sa.select(*newest).select_from(station))]
    query = sa.select(row.station_id, row.overlay_sha256, row.preview_sha256, row.event_at)
    found = conn.execute(query.where(row.id.in_([one for one in ids if one is not None])))
    return {one.station_id: Picture(one[1] or one[2], one[1] is not None, one.event_at) for one in found}
