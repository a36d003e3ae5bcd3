"""Which frame ids each station sent lately: a camera that sends again after its own crash makes duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import chunks, delete_oldest, insert
from agent.store.tables import frame_seen

MOST = 500  # ids of one query


def already(conn: Connection, pairs: Collection[tuple[int, str]], since: datetime) -> set[tuple[int, str]]:
    """Those (station id, frame id) of `pairs` that were seen at or after `since`."""
    by_station: dict[int, list[str]] = defaultdict(list)
    for station_id, frame_id in pairs:
        by_station[station_id].append(frame_id)
    found: set[tuple[int, str]] = set()
    for station_id, ids in by_station.items():
        for part in chunks(ids, MOST):
            query = sa.select(frame_seen.c.frame_id).where(
                frame_seen.c.station_id == station_id, frame_seen.c.frame_id.in_(part), frame_seen.c.seen_at >= since
            )
            found.update((station_id, frame_id) for frame_id in conn.execute(query).scalars())
    return found


def add_all(conn: Connection, rows: Iterable[tuple[int, str, datetime]]) -> None:
    """Remembers (station id, frame id, seen at); a pair seen before gets the new time."""
    new = [{"station_id": s, "frame_id": f, "seen_at": at} for s, f, at in sorted(rows)]
    if new:
        statement = insert(conn, frame_seen)
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=["station_id", "frame_id"], set_={"seen_at": statement.excluded.seen_at}
            ),
            new,
        )


def forget(conn: Connection, before: datetime, limit: int = 1000) -> int:
    """Forgets at most `limit` pairs seen before `before`; returns how many."""
    return delete_oldest(conn, frame_seen.c.seen_at, before, limit)
