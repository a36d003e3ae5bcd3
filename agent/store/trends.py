"""Trends: counts by minute, quarter hour and hour, written with the frames that they count.

No page reads inspections for a trend. Shifts and days are sums of hours, and of quarters where one of
them begins within an hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from agent.store.buckets import HOUR, Fine, hour, minute, quarter
from agent.store.inspections import Inspection
from agent.store.lots import Lots
from agent.store.rows import added, insert_sums
from agent.store.scopes import EVERYTHING, Scope
from agent.store.stretches import Stretch, stretches, window
from agent.store.tables import rollup_hour, rollup_minute, rollup_quarter

VERDICTS = ("pass", "review", "reject", "not_inspected")
KEY = ("start", "station_id", "product_id", "lot", "deployment_id")
SUMS = (*(f"n_{verdict}" for verdict in VERDICTS), "n_late", "sum_latency_ms")
_Sums = dict[tuple[Any, ...], list[float]]


@dataclass(frozen=True, slots=True)
class FlagPoint:
    """The verdicts of one bucket; `start` is aware."""

    start: datetime
    passed: int
    review: int
    reject: int
    not_inspected: int

    @property
    def inspected(self) -> int:
        """Frames with a verdict."""
        return self.passed + self.review + self.reject

    @property
    def flagged(self) -> int:
        """Frames sent to review or rejected."""
        return self.review + self.reject

    @property
    def rate(self) -> float | None:
        """Share of inspected frames that were flagged; None where none was inspected."""
        return self.flagged / self.inspected if self.inspected else None


@dataclass(frozen=True, slots=True)
class Totals:
    """What frames became: with a verdict, of those flagged; without one; and decided late."""

    inspected: int
    flagged: int
    not_inspected: int
    late: int

    def __add__(self, other: Totals) -> Totals:
        return added(self, other)


NOTHING = Totals(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class StationRate:
    """What a station's frames became in a window. Latency is event to decision, in milliseconds."""

    station_id: int
    inspected: int
    flagged: int
    not_inspected: int
    late: int
    mean_latency_ms: float | None

    @property
    def frames(self) -> int:
        """Frames of known stations and products."""
        return self.inspected + self.not_inspected


@dataclass(frozen=True, slots=True)
class ProductRate:
    """What one deployment's frames of a product (0: none decided) became at a station; `last` is their last minute."""

    station_id: int
    product_id: int
    deployment_id: int
    inspected: int
    flagged: int
    last: datetime


@dataclass(frozen=True, slots=True)
class DecidedRate:
    """How many of the frames that one deployment decided at a station were flagged."""

    station_id: int
    product_id: int
    deployment_id: int
    inspected: int
    flagged: int


def add_inspections(conn: Connection, rows: Sequence[Inspection], lots: Lots | None = None) -> None:
    """Counts the inspections of one partition's transaction.

    Args:
        conn: a writing transaction.
        rows: the inspections.
        lots: which of them have sums of their own; None: all.
    """
    minutes: _Sums = defaultdict(lambda: [0] * len(SUMS))
    for row in rows:
        lot = lots.summed(conn, row.lot, row.event_at) if lots else row.lot or ""
        key = (minute(row.event_at), row.station_id, row.product_id, lot, row.deployment_id or 0)
        found = minutes[key]
        found[VERDICTS.index(row.verdict)] += 1
        found[-2] += row.late
        found[-1] += row.latency_ms
    quarters = _wider(minutes, quarter)
    for table, sums in (
        (rollup_minute, minutes), (rollup_quarter, quarters), (rollup_hour, _wider(quarters, hour)),
    ):  # fmt: skip
        _add(conn, table, KEY, SUMS, ((key, sums[key]) for key in sorted(sums)))


def counted(conn: Connection, product_id: int) -> bool:
    """Whether a frame of the product ever came, inspected or not."""
    return bool(conn.execute(sa.select(sa.exists().where(rollup_hour.c.product_id == product_id))).scalar_one())


def _wider(sums: _Sums, start_of: Callable[[datetime], datetime]) -> _Sums:
    found: _Sums = defaultdict(lambda: [0] * len(SUMS))
    for (start, *rest), numbers in sums.items():
        into = found[start_of(start), *rest]
        for place, number in enumerate(numbers):
            into[place] += number
    return found


def _add(
    conn: Connection,
    table: Table,
    key: tuple[str, ...],
    sums: tuple[str, ...],
    rows: Iterable[tuple[tuple[Any, ...], Sequence[float]]],
) -> None:
    new = [dict(zip((*key, *sums), (*values, *numbers), strict=True)) for values, numbers in rows]
    if new:
        conn.execute(insert_sums(conn, table, key, sums), new)


def flag_series(
    conn: Connection,
    since: datetime,
    until: datetime,
    bucket: Fine,
    scope: Scope = EVERYTHING,
    torn: Collection[datetime] = (),
) -> list[FlagPoint]:
    """Verdicts over time, oldest first, UTC; buckets without a frame are left out. `recut` makes wider ones of it.

    Args:
        conn: any transaction.
        since: start of the first bucket.
        until: end of the last one, not included.
        bucket: its width: that of one of the rollups. Of hours those that are not whole are given by quarters.
        scope: what of.
        torn: hours that are given by quarters, too, as `agent.store.buckets.torn` finds them.
    """
    table = rollup_minute if bucket == "minute" else rollup_quarter
    points: list[FlagPoint] = []
    for part in _stretches(since, until, torn) if bucket == "hour" else [window(table, since, until)]:
        row = part[0].c
        sums = [sa.func.sum(row[f"n_{verdict}"]) for verdict in VERDICTS]
        rows = conn.execute(scope.within(sa.select(row.start, *sums), *part).group_by(row.start)).all()
        points += [FlagPoint(start, *map(int, numbers)) for start, *numbers in rows]
    return sorted(points, key=lambda point: point.start)


def _stretches(since: datetime, until: datetime, torn: Collection[datetime] = ()) -> list[Stretch]:
    return stretches(since, until, rollup_quarter, rollup_hour, HOUR, torn)


def recut(
    points: Iterable[FlagPoint], start_of: Callable[[datetime], datetime], timezone: tzinfo = UTC
) -> list[FlagPoint]:
    """The points of wider buckets, oldest first.

    Args:
        points: as `flag_series` gives them.
        start_of: maps a start to that of its bucket, as `agent.store.buckets.cutter` makes it.
        timezone: in which the starts are given.
    """
    sums: dict[datetime, list[int]] = defaultdict(lambda: [0] * len(VERDICTS))
    for point in points:
        found = sums[start_of(point.start)]
        for place, n in enumerate((point.passed, point.review, point.reject, point.not_inspected)):
            found[place] += n
    return [FlagPoint(start.astimezone(timezone), *sums[start]) for start in sorted(sums)]


def totals(conn: Connection, since: datetime, until: datetime, by: str, scope: Scope = EVERYTHING) -> dict[Any, Totals]:
    """Sums by a column of the rollup, such as station_id or lot, over the whole window."""
    found: dict[Any, Totals] = {}
    for part in _stretches(since, until):
        row = part[0].c
        flagged = row.n_review + row.n_reject
        sums = (row.n_pass + flagged, flagged, row.n_not_inspected, row.n_late)
        query = scope.within(sa.select(row[by], *map(sa.func.sum, sums)), *part)
        for key, *numbers in conn.execute(query.group_by(row[by])):
            found[key] = Totals(*map(int, numbers)) + found.get(key, NOTHING)
    return found


def hours_run(conn: Connection, since: datetime, until: datetime, scope: Scope = EVERYTHING) -> float:
    """For how many hours frames were inspected: a quarter for each quarter hour that has one."""
    row = rollup_quarter.c
    ran = scope.within(sa.select(row.start).distinct(), *window(rollup_quarter, since, until))
    # Counted outside: rows lie by start, and DISTINCT needs no more than that, but inside of count() it sorts.
    ran = ran.where(row.n_pass + row.n_review + row.n_reject > 0)
    return float(conn.execute(sa.select(sa.func.count()).select_from(ran.subquery())).scalar_one()) / 4


def station_rates(conn: Connection, since: datetime) -> list[StationRate]:
    """What each station's frames became since then, cut to whole minutes; stations without a frame are left out."""
    row = rollup_minute.c
    sums = [sa.func.sum(row[name]) for name in SUMS]
    query = sa.select(row.station_id, *sums).where(row.start >= minute(since)).group_by(row.station_id)
    rates = []
    for station_id, passed, review, reject, not_inspected, late, latency in conn.execute(
        query.order_by(row.station_id)
    ):
        inspected = int(passed + review + reject)
        frames = inspected + int(not_inspected)
        mean = float(latency) / frames if frames else None
        rates.append(StationRate(station_id, inspected, int(review + reject), int(not_inspected), int(late), mean))
    return rates


def product_rates(conn: Connection, since: datetime) -> list[ProductRate]:
    """As `station_rates`, by product and by what decided."""
    row = rollup_minute.c
    key = (row.station_id, row.product_id, row.deployment_id)
    flagged = row.n_review + row.n_reject
    sums = (sa.func.sum(row.n_pass + flagged), sa.func.sum(flagged), sa.func.max(row.start))
    found = conn.execute(sa.select(*key, *sums).where(row.start >= minute(since)).group_by(*key).order_by(*key))
    return [ProductRate(s, p, d, int(inspected), int(n), last) for s, p, d, inspected, n, last in found]


def usual_rates(conn: Connection, since: datetime, until: datetime, least: int) -> dict[int, float]:
    """Frames a minute of each station in the median of its quarter hours that had any.

    Args:
        conn: any transaction.
        since: start of the first quarter hour.
        until: the last quarter hour ended by then.
        least: stations that ran in fewer quarter hours are left out.
    """
    row = rollup_quarter.c
    frames = sa.func.sum(row.n_pass + row.n_review + row.n_reject + row.n_not_inspected)
    query = sa.select(row.station_id, frames).where(row.start >= quarter(since), row.start < quarter(until))
    quarters: dict[int, list[float]] = defaultdict(list)
    for station_id, n in conn.execute(query.group_by(row.station_id, row.start)):
        quarters[station_id].append(float(n) / 15)
    return {station_id: median(found) for station_id, found in quarters.items() if len(found) >= least}


def decided_rates(conn: Connection, since: datetime) -> list[DecidedRate]:
    """What each deployment decided at each station since then, cut to whole quarter hours."""
    row = rollup_quarter.c
    key = (row.station_id, row.product_id, row.deployment_id)
    flagged = row.n_review + row.n_reject
    sums = (sa.func.sum(row.n_pass + flagged), sa.func.sum(flagged))
    query = sa.select(*key, *sums).where(row.start >= quarter(since), row.deployment_id != 0)
    found = conn.execute(query.group_by(*key).order_by(*key))
    return [DecidedRate(s, p, d, int(inspected), int(n)) for s, p, d, inspected, n in found]
