"""Samples by what is known of them, each with the part that it shows.

None is told while a view of its part waits for people: what became of another one says whether the part was drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import items
from agent.store.rows import columns, names
from agent.store.samples import STATES, Sample
from agent.store.tables import item, sample, station

REVOKED = "revoked"  # as a state: whatever else it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of a product's samples; None: any.

    Attributes:
        state: proposed, quarantined, accepted or refused, and not revoked since; or revoked.
        added_by: whose review proposed or made it.
        since: became a sample at that time or later.
        until: before it.
    """

    product_id: int
    role: str | None = None
    state: str | None = None
    origin: str | None = None
    reason: str | None = None
    station_id: int | None = None
    added_by: int | None = None
    serial: str | None = None
    lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Sequence[sa.ColumnElement[bool]]:
        """As SQL."""
        row, state = sample.c, None if self.state == REVOKED else self.state
        same = (
            (row.role, self.role), (row.state, state), (row.origin, self.origin), (row.reason, self.reason),
            (row.station_id, self.station_id), (row.added_by, self.added_by), (row.serial, self.serial),
            (row.lot, self.lot),
        )  # fmt: skip
        found: list[sa.ColumnElement[bool]] = [row.product_id == self.product_id]
        found += [column == value for column, value in same if value is not None]
        found += [row.revoked_at.is_(None)] if self.state in STATES else []
        found += [row.revoked_at.is_not(None)] if self.state == REVOKED else []
        found += [row.created_at >= self.since] if self.since else []
        found += [row.created_at < self.until] if self.until else []
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """A sample, and the part of the stream that it shows.

    Attributes:
        station: its name; None: imported.
        seen_at: when the part was inspected; None: imported.
        thumbnail_sha256: None where there is only the image itself.
    """

    sample: Sample
    station: str | None
    seen_at: datetime | None
    thumbnail_sha256: str | None


def search(
    conn: Connection, wanted: Wanted, limit: int, *, before: int | None = None, oldest_first: bool = False
) -> list[Found]:
    """The samples, the newest first.

    Args:
        conn: any transaction.
        wanted: which.
        limit: at most so many.
        before: only those that come after the one of this id: where the last page ended.
        oldest_first: in the other order.
    """
    conditions = list(wanted.conditions())
    if before is not None:
        conditions.append(sample.c.id > before if oldest_first else sample.c.id < before)
    order = sample.c.id if oldest_first else sample.c.id.desc()
    return _read(conn, _select().where(*conditions).order_by(order).limit(limit))


def some(conn: Connection, ids: Collection[int]) -> dict[int, Found]:
    """Those of these samples that are told, by id, whatever their state."""
    found = _read(conn, _select().where(sample.c.id.in_(list(ids)))) if ids else []
    return {one.sample.id: one for one in found}


def count(conn: Connection, wanted: Wanted, most: int = 10_000) -> int:
    """How many there are; `most` where there are more."""
    found = sa.select(sample.c.id).where(_told(), *wanted.conditions()).limit(most).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())


def _select() -> sa.Select[Any]:
    small = sa.func.coalesce(item.c.thumbnail_sha256, sample.c.thumbnail_sha256)
    shown = (station.c.name.label("station"), item.c.event_at.label("seen_at"), small)
    return (
        sa.select(*columns(sample, Sample), *shown)
        .outerjoin(item, item.c.id == sample.c.item_id)
        .outerjoin(station, station.c.id == sample.c.station_id)
        .where(_told())
    )


def _told() -> sa.ColumnElement[bool]:
    """Whether nothing of its part waits: no view of its serial, nor its own item again, after an undo."""
    own = item.alias()
    again = sa.exists().where(own.c.id == sample.c.item_id, own.c.state != "closed")
    return ~sa.or_(items.part_waits(sample.c.product_id, sample.c.serial), again)


def _read(conn: Connection, query: sa.Select[Any]) -> list[Found]:
    width = len(names(Sample))
    return [Found(Sample(*row[:width]), *row[width:]) for row in conn.execute(query)]
