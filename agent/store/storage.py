"""What is stored, hour by hour, and when there will be no room left at the rate of the last day."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.alerts import fitted
from agent.store.rows import insert
from agent.store.tables import storage_hour

BLOBS, DATABASE, EVIDENCE = "blobs", "database", "evidence"  # subjects, beside `disk:HOST:FOLDER`
HOUR = timedelta(hours=1)
RATE_OVER = timedelta(days=1)
LEAST = timedelta(hours=3)  # a shorter time says little of a day
FRESH = timedelta(hours=2)  # what nobody measured for longer is not told


@dataclass(frozen=True, slots=True)
class Stored:
    """What one subject holds.

    Attributes:
        subject: BLOBS, DATABASE, EVIDENCE, or `disk:HOST:FOLDER`.
        held: bytes now.
        room: bytes until it is full, or at its limit; None: no limit is known.
        growth: bytes a day, over the last day; None: it is not known yet.
    """

    subject: str
    held: int
    room: int | None
    growth: float | None

    @property
    def days(self) -> float | None:
        """Until there is no room left at that rate; None where that does not come, or is not known."""
        if self.room is None or not self.growth or self.growth < 0:
            return None
        return max(0.0, self.room / self.growth)


def note(conn: Connection, subject: str, held: int, room: int | None, now: datetime) -> None:
    """Records what a subject holds; the last word of each hour stays."""
    row = {"held": held, "room": room, "at": now}
    hour = now.replace(minute=0, second=0, microsecond=0)
    new = insert(conn, storage_hour).values(start=hour, subject=fitted(subject), **row)
    conn.execute(new.on_conflict_do_update(index_elements=["start", "subject"], set_=row))


def measured(conn: Connection, now: datetime, subject: str | None = None) -> list[Stored]:
    """What every subject that was measured lately holds, by name; or one of them."""
    row, found = storage_hour.c, defaultdict(list)
    query = sa.select(row.subject, row.held, row.room, row.at).where(
        row.start >= now - RATE_OVER - HOUR, row.at >= now - RATE_OVER
    )
    if subject is not None:
        query = query.where(row.subject == fitted(subject))
    for name, *rest in conn.execute(query.order_by(row.subject, row.start)):
        found[name].append(tuple(rest))
    return [_stored(name, rows) for name, rows in found.items() if now - rows[-1][2] <= FRESH]


def _stored(subject: str, rows: list[tuple[int, int | None, datetime]]) -> Stored:
    (before, _, since), (held, room, at) = rows[0], rows[-1]
    span = at - since
    growth = (held - before) / (span / timedelta(days=1)) if span >= LEAST else None
    return Stored(subject, held, room, growth)


def database_bytes(conn: Connection) -> int:
    """How large the database is."""
    if conn.dialect.name == "postgresql":
        return int(conn.execute(sa.select(sa.func.pg_database_size(sa.func.current_database()))).scalar_one())
    pages, size = (conn.execute(sa.text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
    return int(pages) * int(size)
