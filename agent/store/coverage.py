"""When and where the parts were seen whose samples the next training run would take, and what ran there meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cached_property
from math import gcd
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.samples import usable
from agent.store.tables import item, rollup_quarter, sample

QUARTER_S, DAY_S, WEEK_S = 900, 86_400, 604_800
HOUR = 4  # quarters


@dataclass(frozen=True)
class Weeks:
    """Weeks of the plant, each cut into slots of the day; both begin with the day's first shift.

    Attributes:
        monday: of the first week.
        count: how many.
        zone: the plant's timezone.
        shifts: when its shifts begin: local times on whole quarters, ascending.
    """

    monday: date
    count: int
    zone: tzinfo
    shifts: tuple[time, ...]

    @classmethod
    def until(cls, now: datetime, count: int, zone: tzinfo, shifts: tuple[time, ...]) -> Weeks:
        """So many of them, the one of `now` being the last."""
        today = (now.astimezone(zone).replace(tzinfo=None) - _since_midnight(shifts[0])).date()
        return cls(today - timedelta(days=today.weekday(), weeks=count - 1), count, zone, shifts)

    @property
    def since(self) -> datetime:
        """When the first week begins, UTC."""
        return datetime.combine(self.monday, self.shifts[0], self.zone).astimezone(UTC)

    @cached_property
    def slot(self) -> int:
        """Quarters in a slot: an hour, or less where shifts do not begin whole hours after one another."""
        return gcd(HOUR, *(_quarters(one) - _quarters(self.shifts[0]) for one in self.shifts))

    def shift(self, slot: int) -> time:
        """Which shift a slot is of."""
        quarter = slot * self.slot + _quarters(self.shifts[0])
        return [one for one in self.shifts if _quarters(one) <= quarter][-1]

    def begins(self, slot: int) -> time:
        """The local time at which a slot begins."""
        minutes = 15 * (slot * self.slot + _quarters(self.shifts[0])) % (24 * 60)
        return time(minutes // 60, minutes % 60)

    def offsets(self, until: datetime) -> list[tuple[datetime, int]]:
        """The zone's offsets in seconds, each with when it ends, up to that time."""
        found, at = list[tuple[datetime, int]](), self.since
        while at < until:
            after = at + timedelta(seconds=QUARTER_S)
            if _offset(after, self.zone) != _offset(at, self.zone):
                found.append((after, _offset(at, self.zone)))
            at = after
        return [*found, (until, _offset(until, self.zone))]


@dataclass(frozen=True, slots=True)
class Seen:
    """So many samples of a role (frames inspected, where that is None) of a station, in one slot of one week."""

    station_id: int
    role: str | None
    week: int
    slot: int
    n: int


def by_station(conn: Connection, product_id: int, epoch_id: int | None) -> dict[tuple[int | None, str], int]:
    """How many samples there are of each station and role; imported ones have no station.

    Args:
        conn: any transaction.
        product_id: of the product.
        epoch_id: whose calibration and hold-out samples a run would take; None: of none.
    """
    row = sample.c
    query = sa.select(row.station_id, row.role, sa.func.count()).where(row.product_id == product_id, *usable(epoch_id))
    rows = conn.execute(query.group_by(row.station_id, row.role))
    return {(station_id, role): n for station_id, role, n in rows}


def by_time(conn: Connection, product_id: int, epoch_id: int | None, weeks: Weeks, now: datetime) -> list[Seen]:
    """The samples of parts inspected in those weeks. Arguments as `by_station`."""
    row = sample.c
    week, slot = _place(conn, item.c.event_at, weeks, now)
    query = (
        sa.select(row.station_id, row.role, week, slot, sa.func.count())
        .join(item, item.c.id == row.item_id)
        .where(row.product_id == product_id, *usable(epoch_id), row.station_id.is_not(None))
        .where(item.c.event_at >= weeks.since, item.c.event_at < now)
    )
    return _seen(conn.execute(query.group_by(row.station_id, row.role, week, slot)))


def inspected(conn: Connection, product_id: int, weeks: Weeks, now: datetime) -> list[Seen]:
    """The frames of the product that were inspected in those weeks."""
    row = rollup_quarter.c
    week, slot = _place(conn, row.start, weeks, now)
    frames = sa.func.sum(row.n_pass + row.n_review + row.n_reject)
    query = sa.select(row.station_id, sa.null(), week, slot, frames).where(row.product_id == product_id)
    query = query.where(row.start >= weeks.since, row.start < now)
    return _seen(conn.execute(query.group_by(row.station_id, week, slot)))


def _place(
    conn: Connection, at: sa.Column[datetime], weeks: Weeks, now: datetime
) -> tuple[sa.ColumnElement[int], sa.ColumnElement[int]]:
    """Week and slot of a time, as SQL: a year's rows are summed where they lie."""
    if conn.dialect.name == "postgresql":
        epoch: sa.ColumnElement[int] = sa.cast(sa.func.floor(sa.extract("epoch", at)), sa.BigInteger)
    else:
        epoch = sa.cast(sa.func.strftime("%s", at), sa.Integer)
    *changes, (_, last) = weeks.offsets(now)
    begin = round(weeks.since.timestamp()) + weeks.offsets(weeks.since)[0][1]
    offset = sa.case(*((at < end, shift) for end, shift in changes), else_=last) if changes else sa.literal(last)
    since = epoch + offset - begin  # seconds of the plant's clock since the first week began
    return since // WEEK_S, since % DAY_S // (weeks.slot * QUARTER_S)


def _seen(rows: Iterable[Any]) -> list[Seen]:
    return [Seen(station_id, role, int(week), int(slot), int(n)) for station_id, role, week, slot, n in rows]


def _offset(at: datetime, zone: tzinfo) -> int:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return round(found.total_seconds())


def _quarters(at: time) -> int:
    return 4 * at.hour + at.minute // 15


def _since_midnight(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute)
