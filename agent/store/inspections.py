"""Inspections: what became of each frame. Thin rows that nothing refers to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from agent.store import partitions
from agent.store.errors import Raced
from agent.store.rows import columns, insert_rows, listed, names, read, read_all
from agent.store.tables import inspection

_KEY = (inspection.c.event_at, inspection.c.stream_id, inspection.c.partition, inspection.c.offset)


@dataclass(frozen=True, slots=True)
class Inspection:
    """One frame's outcome.

    `event_at` is agent.frame.event_time; `latency_ms` is decided_at - event_at, `score_ms` the scorer's share of it.
    `reason` says why a frame was not inspected, or why it needs review without a certificate.
    """

    event_at: datetime
    stream_id: int
    partition: int
    offset: int
    frame_id: str
    station_id: int
    product_id: int
    serial: str | None
    lot: str | None
    verdict: str  # pass | review | reject | not_inspected
    reason: str | None
    score: float | None
    p_value: float | None
    severity: float | None
    deployment_id: int | None
    captured_at: datetime | None
    decided_at: datetime
    latency_ms: float
    score_ms: float | None
    late: bool
    clock_suspect: bool


_VALUES = listed(Inspection)


def add_all(conn: Connection, rows: Sequence[Inspection]) -> None:
    """Adds the inspections of one partition's transaction.

    Raises:
        Raced: on PostgreSQL, a day got its partition at that moment; nothing may be committed.
    """
    try:
        insert_rows(conn, inspection, names(Inspection), map(_VALUES, rows))
    except IntegrityError as error:
        if not partitions.outran(error):
            raise
        raise Raced("the day of a frame got its partition meanwhile: record it there") from error


def recent(conn: Connection, station_id: int | None = None, limit: int = 50) -> list[Inspection]:
    """The newest ones by `event_at`, newest first, of one station or of all."""
    query = sa.select(*columns(inspection, Inspection)).order_by(inspection.c.event_at.desc()).limit(limit)
    if station_id is not None:
        query = query.where(inspection.c.station_id == station_id)
    return read_all(Inspection, conn.execute(query))


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Inspections with start <= event_at < end, of one station or product or of all."""

    start: datetime
    end: datetime
    station_id: int | None = None
    product_id: int | None = None

    def of(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """The query, kept to this window."""
        query = query.where(inspection.c.event_at >= self.start, inspection.c.event_at < self.end)
        for column, wanted in ((inspection.c.station_id, self.station_id), (inspection.c.product_id, self.product_id)):
            if wanted is not None:
                query = query.where(column == wanted)
        return query


def page(conn: Connection, window: Window, limit: int, after: Inspection | None = None) -> list[Inspection]:
    """At most `limit` of a window by event time and position, those after `after`."""
    query = window.of(sa.select(*columns(inspection, Inspection))).order_by(*_KEY).limit(limit)
    if after is not None:
        seen = [sa.literal(getattr(after, column.name), column.type) for column in _KEY]
        query = query.where(inspection.c.event_at >= after.event_at, sa.tuple_(*_KEY) > sa.tuple_(*seen))
    return read_all(Inspection, conn.execute(query))


def count_in(conn: Connection, window: Window) -> int:
    """How many inspections a window has. Reads their index entries."""
    return int(conn.execute(window.of(sa.select(sa.func.count()).select_from(inspection))).scalar_one())


def count(conn: Connection) -> int:
    """How many rows there are. Reads all of them: for tests and small databases."""
    return conn.execute(sa.select(sa.func.count()).select_from(inspection)).scalar_one()


def of_frame(conn: Connection, frame_id: str, since: datetime) -> list[Inspection]:
    """The inspections of the frames of that id, whose `event_at` is not before `since`."""
    query = sa.select(*columns(inspection, Inspection)).where(
        inspection.c.event_at >= since, inspection.c.frame_id == frame_id
    )
    return read_all(Inspection, conn.execute(query))


def of_serial(conn: Connection, serial: str, limit: int = 200) -> list[Inspection]:
    """The newest inspections of a part, newest first."""
    query = sa.select(*columns(inspection, Inspection)).where(inspection.c.serial == serial)
    return read_all(Inspection, conn.execute(query.order_by(inspection.c.event_at.desc()).limit(limit)))


def at(conn: Connection, event_at: datetime, stream_id: int, partition: int, offset: int) -> Inspection | None:
    """The inspection of one record."""
    key = zip(_KEY, (event_at, stream_id, partition, offset), strict=True)
    query = sa.select(*columns(inspection, Inspection)).where(*(column == value for column, value in key))
    found = conn.execute(query).one_or_none()
    return read(Inspection, found) if found else None
