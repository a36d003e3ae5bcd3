"""Dead letters: frames nobody could inspect, kept for a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import NotFound
from agent.store.rows import columns, read_all, values
from agent.store.tables import audit_event, dead_letter

REPLAY = "dead_letter.replay"  # the action in the audit trail


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


def recent(
    conn: Connection, limit: int = 50, *, reason: str | None = None, station: str | None = None
) -> list[DeadLetter]:
    """The newest ones, newest first, of one reason or of all, of the station that the frames named or of all."""
    query = _select().order_by(dead_letter.c.id.desc()).limit(limit)
    for column, wanted in ((dead_letter.c.reason, reason), (dead_letter.c.station, station)):
        if wanted is not None:
            query = query.where(column == wanted)
    return _read(conn, query)


def by_reason(conn: Connection) -> dict[str, int]:
    """How many there are of each reason, the most frequent first."""
    n = sa.func.count()
    query = sa.select(dead_letter.c.reason, n).group_by(dead_letter.c.reason).order_by(n.desc(), dead_letter.c.reason)
    return {reason: int(count) for reason, count in conn.execute(query)}


def get(conn: Connection, letter_id: int) -> DeadLetter:
    """The dead letter of that id.

    Raises:
        NotFound: there is none.
    """
    found = _read(conn, _select().where(dead_letter.c.id == letter_id))
    if not found:
        raise NotFound(f"there is no dead letter {letter_id}; see: goodpart dead-letters list")
    return found[0]


def of_reason(conn: Connection, reason: str) -> list[DeadLetter]:
    """Those of a reason that nobody has replayed yet, oldest first."""
    found = _read(conn, _select().where(dead_letter.c.reason == reason).order_by(dead_letter.c.id))
    replayed = replays(conn)
    return [one for one in found if one.id not in replayed]


def at(conn: Connection, stream_id: int, partition: int, offsets: Sequence[int]) -> dict[int, DeadLetter]:
    """Those made of the frames at these offsets, by offset."""
    row = dead_letter.c
    query = _select().where(row.stream_id == stream_id, row.partition == partition, row.offset.in_(offsets))
    return {one.offset: one for one in _read(conn, query)}


def replays(conn: Connection) -> dict[int, datetime]:
    """When each dead letter was last replayed, by its id, as the audit trail has it."""
    event = audit_event.c
    rows = conn.execute(sa.select(event.subject, event.at).where(event.action == REPLAY).order_by(event.id))
    return {int(subject.partition(":")[2]): moment for subject, moment in rows}


def _select() -> sa.Select[Any]:
    return sa.select(*columns(dead_letter, DeadLetter))


def _read(conn: Connection, query: sa.Select[Any]) -> list[DeadLetter]:
    found = read_all(DeadLetter, conn.execute(query))
    return [replace(one, headers=tuple((name, text) for name, text in one.headers)) for one in found]


def count_recent(conn: Connection, station: str | None, reason: str, since: datetime) -> int:
    """How many of that station and reason kept their bytes since then: what the quota looks at."""
    row = dead_letter.c
    query = sa.select(sa.func.count()).where(
        row.station == station, row.reason == reason, row.created_at >= since, row.blob_sha256.is_not(None)
    )
    return conn.execute(query).scalar_one()
