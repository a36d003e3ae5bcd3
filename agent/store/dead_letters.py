"""Dead letters: frames nobody could inspect, kept for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read_all, values
from agent.store.tables import dead_letter


@dataclass(frozen=True, slots=True)
class NewDeadLetter:
    """A frame as it came; `headers` are (name, text) pairs, undecodable bytes replaced.

    `counted` is False where the frame has an inspection of its own; `blob_sha256` is None beyond the quota.
    """

    stream_id: int
    partition: int
    offset: int
    station: str | None
    reason: str
    detail: str
    headers: Sequence[tuple[str, str]]
    value_sha256: str
    blob_sha256: str | None
    counted: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """As `NewDeadLetter`, with its id."""

    id: int
    stream_id: int
    partition: int
    offset: int
    station: str | None
    reason: str
    detail: str
    headers: tuple[tuple[str, str], ...]
    value_sha256: str
    blob_sha256: str | None
    counted: bool
    created_at: datetime


def add_all(conn: Connection, rows: Sequence[NewDeadLetter]) -> None:
    """Adds the dead letters of one partition's transaction."""
    if rows:
        conn.execute(sa.insert(dead_letter), [values(row) for row in rows])


def recent(conn: Connection, limit: int = 50) -> list[DeadLetter]:
    """The newest ones, newest first."""
    query = sa.select(*columns(dead_letter, DeadLetter)).order_by(dead_letter.c.id.desc()).limit(limit)
    found = read_all(DeadLetter, conn.execute(query))
    return [replace(one, headers=tuple((name, text) for name, text in one.headers)) for one in found]


def count_recent(conn: Connection, station: str | None, reason: str, since: datetime) -> int:
    """How many of that station and reason kept their bytes since then: what the quota looks at."""
    row = dead_letter.c
    query = sa.select(sa.func.count()).where(
        row.station == station, row.reason == reason, row.created_at >= since, row.blob_sha256.is_not(None)
    )
    return conn.execute(query).scalar_one()
