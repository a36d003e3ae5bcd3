"""How many failed frames of this hour kept their bytes: by agents that run and by those that ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from agent.store.tables import dead_letter, item

_ASIDE = timedelta(minutes=1)  # by which the clocks of two agents may differ


def of_station(conn: Connection, station_id: int, reason: str, since: datetime) -> int:
    """The station's items of that reason that were made since then; audited parts have no part in it."""
    mine = (item.c.station_id == station_id, item.c.reason == reason, item.c.kind.in_(("flagged", "failed")))
    return _count(conn, item, since, *mine)


def of_nobody(conn: Connection, reason: str, since: datetime) -> int:
    """Since then, the dead letters of that reason that belong to no registered station and have their bytes."""
    row = dead_letter.c
    return _count(conn, dead_letter, since, row.reason == reason, row.counted, row.blob_sha256.is_not(None))


def _count(conn: Connection, table: Table, since: datetime, *mine: sa.ColumnElement[Any]) -> int:
    # Ids rise with time: from the newest row backwards, so that nothing older than `since` is looked through.
    row = table.c
    before = sa.select(row.id).where(row.created_at < since - _ASIDE).order_by(row.id.desc()).limit(1)
    newest = row.id > sa.func.coalesce(before.scalar_subquery(), 0)
    query = sa.select(sa.func.count()).select_from(table).where(newest, row.created_at >= since, *mine)
    return int(conn.execute(query).scalar_one())
