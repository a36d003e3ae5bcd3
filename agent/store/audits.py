"""Audited frames: drawn before scoring, reviewed whatever their verdict; the one source of calibration samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import chunks, columns, read_all
from agent.store.tables import CLOSED, item, sample

SHOWN = 10
CHUNK = 1000  # values of one statement


@dataclass(frozen=True, slots=True)
class Drawn:
    """One audited frame and what became of it."""

    id: int  # of its item
    event_at: datetime
    station_id: int
    frame_id: str
    serial: str | None
    state: str  # open | escalated | closed
    decision: str | None  # normal | defect
    verdict: str
    reason: str | None

    @property
    def part(self) -> tuple[str, str]:
        """What part it shows: that of its serial, else one of its own."""
        return ("serial", self.serial) if self.serial else ("item", str(self.id))

    @property
    def key(self) -> str:
        """By which its part is drawn."""
        return self.serial or self.frame_id


@dataclass(frozen=True, slots=True)
class Pending:
    """A sample of an audited normal whose window is not decided yet; nothing uses it."""

    id: int
    item_id: int
    event_at: datetime  # of its item


@dataclass(frozen=True, slots=True)
class Undecided:
    """Audited frames that nobody has decided."""

    n: int
    escalated: int  # of them: an engineer decides
    items: tuple[int, ...]  # ids of the first SHOWN


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part's images belong."""

    role: str  # calibration | holdout
    epoch_id: int


def drawn(
    conn: Connection, product_id: int, since: datetime, until: datetime, station_id: int | None = None
) -> list[Drawn]:
    """The product's audited frames seen in [since, until), by that time; with a station only its own."""
    row = item.c
    query = sa.select(*columns(item, Drawn)).where(
        row.product_id == product_id, row.kind == "audit", row.event_at >= since, row.event_at < until
    )
    if station_id is not None:
        query = query.where(row.station_id == station_id)
    return read_all(Drawn, conn.execute(query.order_by(row.event_at, row.id)))


def undecided(conn: Connection, product_id: int, since: datetime, until: datetime) -> Undecided:
    """Those of the product seen in [since, until)."""
    row = item.c
    open_ones = (
        row.product_id == product_id, row.kind == "audit", row.event_at >= since, row.event_at < until,
        row.state != "closed",
    )  # fmt: skip
    numbers = sa.select(sa.func.count(), sa.func.count(sa.case((row.state == "escalated", 1)))).where(*open_ones)
    n, escalated = conn.execute(numbers).one()
    first = sa.select(row.id).where(*open_ones).order_by(row.event_at, row.id).limit(SHOWN) if n else None
    return Undecided(n, escalated, () if first is None else tuple(conn.execute(first).scalars()))


def waits(conn: Connection, product_id: int, serial: str) -> bool:
    """Whether an audited frame of that part waits for people."""
    row = item.c
    mine = (row.product_id == product_id, row.serial == serial, row.state != CLOSED, row.kind == "audit")
    return bool(conn.execute(sa.select(sa.exists().where(*mine))).scalar_one())


def pending(conn: Connection, product_id: int) -> list[Pending]:
    """The samples that have no epoch yet, by the time their part was seen."""
    query = (
        sa.select(sample.c.id, sample.c.item_id, item.c.event_at)
        .join(item, item.c.id == sample.c.item_id)
        .where(sample.c.product_id == product_id, *_waits())
    )
    return read_all(Pending, conn.execute(query.order_by(item.c.event_at, sample.c.id)))


def places(conn: Connection, product_id: int, serials: Collection[str]) -> dict[str, Place]:
    """Where parts that calibrate or are held out already belong, by serial: a part's first place sticks."""
    row = sample.c
    query = sa.select(row.serial, row.role, row.epoch_id).where(
        row.product_id == product_id, row.role.in_(("calibration", "holdout")), row.epoch_id.is_not(None),
        row.origin == "audit", row.state == "accepted", row.revoked_at.is_(None),
    )  # fmt: skip
    found: dict[str, Place] = {}
    for some in chunks(sorted(serials), CHUNK):
        for serial, role, epoch_id in conn.execute(query.where(row.serial.in_(some)).order_by(row.id)):
            found.setdefault(serial, Place(role, epoch_id))
    return found


def admit(conn: Connection, sample_ids: Sequence[int], place: Place, now: datetime) -> None:
    """Gives pending samples their place; from now on they count."""
    statement = sa.update(sample).values(role=place.role, epoch_id=place.epoch_id, accepted_at=now)
    for some in chunks(sample_ids, CHUNK):
        conn.execute(statement.where(sample.c.id.in_(some), *_waits()))


def _waits() -> tuple[sa.ColumnElement[bool], ...]:
    row = sample.c
    return (
        row.role == "calibration", row.origin == "audit", row.epoch_id.is_(None), row.state == "accepted",
        row.revoked_at.is_(None),
    )  # fmt: skip
