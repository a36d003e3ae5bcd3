"""Drift watches: one row a product and station, what each compares scores with, and the frames it has yet to read.

A station's frames are read once for all its products: its rows move on together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, insert, read_all, serialise
from agent.store.tables import certificate, deployment, drift, epoch, inspection

LOCK = 0x64726966  # "drif"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a frame stands among its station's: by event time, then by its place on the log."""

    event_at: datetime
    stream_id: int
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One inspected frame; without a `p_value` no certificate decided it."""

    position: Position
    deployment_id: int | None
    serial: str | None
    score: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """Whose calibration scores a product's stream is compared with now: those of the live deployment's certificate."""

    product_id: int
    deployment_id: int
    epoch_id: int
    live_from: datetime


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration scores of a certificate; `unit` is what one of them stands for: part or frame."""

    scores: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Standing:
    """One watch, for people."""

    product_id: int
    station_id: int
    deployment_id: int
    epoch_id: int
    stream: int  # how many-eth, from 1
    n: int  # parts counted
    log_wealth: float  # natural logarithm of the evidence
    began_at: datetime
    alarmed_at: datetime | None
    alarm: Mapping[str, Any] | None  # stream, n, log_e; None: none stands

    @property
    def evidence(self) -> str:
        """How much speaks against "nothing has changed"."""
        return odds(self.log_wealth)

    def of(self, reference: Reference | None) -> bool:
        """Whether it goes on: its deployment is live and its certificate speaks for the stream."""
        return reference is not None and (self.deployment_id, self.epoch_id) == (
            reference.deployment_id,
            reference.epoch_id,
        )


@dataclass(frozen=True, slots=True)
class Kept(Standing):
    """One watch with all that it goes on from."""

    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that stands; `cut` says whether an epoch has been opened for it."""

    product_id: int
    station_id: int
    at: datetime
    numbers: Mapping[str, Any]  # stream, n, log_e
    cut: bool


def odds(log_e: float) -> str:
    """Evidence of that natural logarithm in words, such as `164 to 1`."""
    if log_e > math.log(1e6):
        return f"10^{log_e / math.log(10):.0f} to 1"
    e = math.exp(log_e)
    return f"{e:,.0f} to 1" if e >= 10 else f"{e:.2g} to 1"


def references(conn: Connection) -> dict[int, Reference]:
    """What to compare with, by product id; without those whose certificate is of an epoch before the newest cut."""
    mine, row = certificate.c, deployment.c
    query = (
        sa.select(row.product_id, row.id, epoch.c.id, row.live_from, epoch.c.opened_at)
        .select_from(
            deployment.join(certificate, mine.id == row.certificate_id).join(epoch, epoch.c.id == mine.epoch_id)
        )
        .where(row.live_until.is_(None))
    )
    cutting = sa.select(epoch.c.product_id, epoch.c.opened_at, epoch.c.id).where(epoch.c.cuts)
    # The newest one of each product is the last.
    cuts = {p: (at, one) for p, at, one in conn.execute(cutting.order_by(epoch.c.opened_at, epoch.c.id))}
    return {
        found.product_id: Reference(*found[:4])
        for found in conn.execute(query)
        if found.product_id not in cuts or (found.opened_at, found[2]) >= cuts[found.product_id]
    }


def calibration(conn: Connection, deployment_id: int) -> Calibration | None:
    """The calibration scores of a deployment's certificate; None where it certifies nothing."""
    query = sa.select(certificate.c.record).join(deployment, deployment.c.certificate_id == certificate.c.id)
    record = conn.execute(query.where(deployment.c.id == deployment_id)).scalar_one_or_none()
    if record is None or record["review_threshold"] is None:
        return None
    return Calibration(tuple(record["scores"]), record["unit"])


def all(conn: Connection, product_id: int | None = None) -> list[Standing]:
    """Every watch, or a product's, by product and station."""
    query = sa.select(*columns(drift, Standing)).order_by(drift.c.product_id, drift.c.station_id)
    return read_all(Standing, conn.execute(query if product_id is None else query.where(_of(product_id))))


def alarms(conn: Connection) -> list[Alarm]:
    """The alarms that stand: of live deployments, with no cutting epoch opened for what came later."""
    row, later = drift.c, sa.and_(epoch.c.product_id == drift.c.product_id, epoch.c.cuts)
    answered = sa.exists().where(later, epoch.c.opened_at > row.alarmed_at)
    query = (
        sa.select(row.product_id, row.station_id, row.alarmed_at, row.alarm)
        .join(deployment, deployment.c.id == row.deployment_id)
        .where(deployment.c.live_until.is_(None), row.alarmed_at.is_not(None), ~answered)
    )
    found = conn.execute(query.order_by(row.product_id, row.station_id)).all()
    known = references(conn) if found else {}
    return [Alarm(*one, cut=one.product_id not in known) for one in found]


def at_station(conn: Connection, station_id: int) -> tuple[dict[int, Kept], Position | None]:
    """A station's watches by product id, and the frame up to which they have read; None: none yet."""
    query = sa.select(*columns(drift, Kept)).where(drift.c.station_id == station_id)
    return {one.product_id: one for one in read_all(Kept, conn.execute(query))}, _position(conn, station_id)


def positions(conn: Connection) -> dict[int, Position]:
    """The frame up to which each station's watches have read, by station id."""
    found = [(station, Position(*place)) for station, *place in conn.execute(sa.select(drift.c.station_id, *_PLACE))]
    return dict(sorted(found, key=lambda one: one[1]))


def page(conn: Connection, station_id: int, after: Position, until: datetime, limit: int) -> list[Frame]:
    """At most `limit` of the station's frames after a position and up to a time, whatever became of them."""
    row = inspection.c
    key = (row.event_at, row.stream_id, row.partition, row.offset)
    seen = (after.event_at, after.stream_id, after.partition, after.offset)
    query = sa.select(*key, row.deployment_id, row.serial, row.score, row.p_value).where(
        row.station_id == station_id, row.event_at >= after.event_at, row.event_at <= until,
        sa.tuple_(*key) > sa.tuple_(*(sa.literal(value, one.type) for value, one in zip(seen, key, strict=True))),
    )  # fmt: skip
    return [Frame(Position(*found[:4]), *found[4:]) for found in conn.execute(query.order_by(*key).limit(limit))]


def take_turn(conn: Connection, station_id: int, expected: Position | None) -> bool:
    """Waits until nobody else moves watches; False where somebody has moved this station's since `expected`."""
    serialise(conn, LOCK)
    return _position(conn, station_id) == expected


def save(conn: Connection, product_id: int, station_id: int, place: Position, now: datetime, **values: Any) -> None:
    """Writes a watch as it is at `place`; `values` are the other columns."""
    given = {**_columns(place), **values, "updated_at": now}
    statement = insert(conn, drift).values(product_id=product_id, station_id=station_id, **given)
    conn.execute(statement.on_conflict_do_update(index_elements=["product_id", "station_id"], set_=given))


def move(conn: Connection, station_id: int, place: Position) -> None:
    """All the station's watches have read up to `place`."""
    conn.execute(sa.update(drift).where(drift.c.station_id == station_id).values(**_columns(place)))


_PLACE = (drift.c.read_until, drift.c.stream_id, drift.c.partition, drift.c.offset)


def _position(conn: Connection, station_id: int) -> Position | None:
    found = conn.execute(sa.select(*_PLACE).where(drift.c.station_id == station_id))
    return max((Position(*place) for place in found), default=None)


def _columns(place: Position) -> dict[str, Any]:
    return {
        "read_until": place.event_at, "stream_id": place.stream_id, "partition": place.partition,
        "offset": place.offset,
    }  # fmt: skip


def _of(product_id: int) -> sa.ColumnElement[bool]:
    return drift.c.product_id == product_id
