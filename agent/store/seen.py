"""Which frame ids each station sent lately: a camera that sends again after its own crash makes duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import Raced
from agent.store.rows import chunks, delete_oldest, insert_rows
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
            given = {"of_station": station_id, "ids": part, "since": since}
            found.update((station_id, frame_id) for frame_id in conn.execute(_SEEN, given).scalars())
    return found


# Built once: building it takes longer than running it.
_SEEN = sa.select(frame_seen.c.frame_id).where(
    frame_seen.c.station_id == sa.bindparam("of_station"),
    frame_seen.c.frame_id.in_(sa.bindparam("ids", expanding=True)),
    frame_seen.c.seen_at >= sa.bindparam("since"),
)


def add_all(conn: Connection, rows: Iterable[tuple[int, str, datetime]], since: datetime) -> None:
    """Remembers (station id, frame id, seen at); a pair last seen before `since` gets the new time.

    Raises:
        Raced: one was seen at or after `since`; nothing may be committed. `already` said otherwise: on PostgreSQL,
            another transaction committed it since then.
    """
    # Sorted, so that two transactions with the same frames wait for each other and never in a circle.
    newest = {(station_id, frame_id): at for station_id, frame_id, at in sorted(rows)}
    new = ((*pair, at) for pair, at in newest.items())
    written = insert_rows(conn, frame_seen, ("station_id", "frame_id", "seen_at"), new, _UNSEEN, seen_at=since)
    if written < len(newest):
        raise Raced("a frame was recorded by another agent meanwhile: look for duplicates again")


_UNSEEN = (
    "ON CONFLICT (station_id, frame_id) DO UPDATE SET seen_at = excluded.seen_at WHERE frame_seen.seen_at < {seen_at}"
)


def forget(conn: Connection, before: datetime, limit: int = 1000) -> int:
    """Forgets at most `limit` pairs seen before `before`; returns how many."""
    return delete_oldest(conn, frame_seen.c.seen_at, before, limit)
