"""Trends: counts by minute and quarter hour, written with the frames and reviews they count.

No page reads inspections for a trend. Days and hours are sums of quarters in the plant's timezone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from agent.store.inspections import Inspection
from agent.store.items import Item
from agent.store.lots import Lots
from agent.store.rows import insert_sums
from agent.store.tables import review_rollup, rollup_minute, rollup_quarter

Bucket = Literal["minute", "quarter", "hour", "day"]
VERDICTS = ("pass", "review", "reject", "not_inspected")
KEY = ("start", "station_id", "product_id", "lot", "deployment_id")
SUMS = (*(f"n_{verdict}" for verdict in VERDICTS), "n_late", "sum_latency_ms")
REVIEW_KEY = ("start", "station_id", "product_id", "deployment_id", "decision", "reason")


@dataclass(frozen=True, slots=True)
class FlagPoint:
    """The verdicts of one bucket; `start` is aware, in the timezone asked for."""

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
class ReasonPoint:
    """How many reviews of one decision and reason ('' for none) stand for the parts of one bucket."""

    start: datetime
    decision: str
    reason: str
    n: int


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
class DecidedRate:
    """How many of the frames that one deployment decided at a station were flagged."""

    station_id: int
    product_id: int
    deployment_id: int
    inspected: int
    flagged: int


def minute(moment: datetime) -> datetime:
    """The start of its minute, UTC."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def quarter(moment: datetime) -> datetime:
    """The start of its quarter hour, UTC. Every timezone in use today is a whole number of quarters from UTC."""
    start = minute(moment)
    return start - timedelta(minutes=start.minute % 15)


def add_inspections(conn: Connection, rows: Sequence[Inspection], lots: Lots | None = None) -> None:
    """Counts the inspections of one partition's transaction.

    Args:
        conn: a writing transaction.
        rows: the inspections.
        lots: which of them have sums of their own; None: all.
    """
    minutes: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0] * len(SUMS))
    for row in rows:
        lot = lots.summed(conn, row.lot, row.event_at) if lots else row.lot or ""
        key = (minute(row.event_at), row.station_id, row.product_id, lot, row.deployment_id or 0)
        found = minutes[key]
        found[VERDICTS.index(row.verdict)] += 1
        found[-2] += row.late
        found[-1] += row.latency_ms
    quarters: dict[tuple[Any, ...], list[float]] = defaultdict(lambda: [0] * len(SUMS))
    for (start, *rest), numbers in minutes.items():
        found = quarters[quarter(start), *rest]
        for place, number in enumerate(numbers):
            found[place] += number
    for table, sums in ((rollup_minute, minutes), (rollup_quarter, quarters)):
        _add(conn, table, KEY, SUMS, ((key, sums[key]) for key in sorted(sums)))


def add_review(conn: Connection, item: Item, decision: str, reason: str | None, delta: int) -> None:
    """Counts a review (`delta` 1) or takes it back (-1), at the quarter in which its part was seen."""
    key = (quarter(item.event_at), item.station_id, item.product_id, item.deployment_id or 0, decision, reason or "")
    _add(conn, review_rollup, REVIEW_KEY, ("n",), [(key, [delta])])


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
    bucket: Bucket,
    product_id: int | None = None,
    station_id: int | None = None,
    *,
    timezone: tzinfo = UTC,
) -> list[FlagPoint]:
    """Verdicts over time, oldest first; buckets without a frame are left out.

    Args:
        conn: any transaction.
        since: start of the first bucket.
        until: end of the last one, not included.
        bucket: its width. Minutes read the minute rollup, all others the quarters.
        product_id: only this product's.
        station_id: only this station's.
        timezone: the plant's; hours and days are cut in it.
    """
    table = rollup_minute if bucket == "minute" else rollup_quarter
    sums = [sa.func.sum(table.c[f"n_{verdict}"]) for verdict in VERDICTS]
    query = _window(sa.select(table.c.start, *sums), table, since, until, product_id, station_id)
    points: dict[datetime, list[int]] = defaultdict(lambda: [0] * len(VERDICTS))
    start_of = _cut(bucket, timezone)
    for start, *numbers in conn.execute(query.group_by(table.c.start).order_by(table.c.start)):
        found = points[start_of(start)]
        for place, n in enumerate(numbers):
            found[place] += int(n)
    return [FlagPoint(start.astimezone(timezone), *points[start]) for start in sorted(points)]


def reason_series(
    conn: Connection,
    since: datetime,
    until: datetime,
    bucket: Bucket,
    product_id: int | None = None,
    station_id: int | None = None,
    *,
    timezone: tzinfo = UTC,
) -> list[ReasonPoint]:
    """Reviews by decision and reason over time, oldest first. Arguments as `flag_series`; minutes read as quarters."""
    table = review_rollup
    by = (table.c.start, table.c.decision, table.c.reason)
    query = _window(sa.select(*by, sa.func.sum(table.c.n)), table, since, until, product_id, station_id)
    points: dict[tuple[datetime, str, str], int] = defaultdict(int)
    start_of = _cut(bucket, timezone)
    for start, decision, reason, n in conn.execute(query.group_by(*by)):
        points[start_of(start), decision, reason] += int(n)
    return [
        ReasonPoint(start.astimezone(timezone), decision, reason, n)
        for (start, decision, reason), n in sorted(points.items())
        if n
    ]


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


def decided_rates(conn: Connection, since: datetime) -> list[DecidedRate]:
    """What each deployment decided at each station since then, cut to whole quarter hours."""
    row = rollup_quarter.c
    key = (row.station_id, row.product_id, row.deployment_id)
    flagged = row.n_review + row.n_reject
    sums = (sa.func.sum(row.n_pass + flagged), sa.func.sum(flagged))
    query = sa.select(*key, *sums).where(row.start >= quarter(since), row.deployment_id != 0)
    found = conn.execute(query.group_by(*key).order_by(*key))
    return [DecidedRate(s, p, d, int(inspected), int(n)) for s, p, d, inspected, n in found]


def _window(
    query: sa.Select[Any],
    table: Table,
    since: datetime,
    until: datetime,
    product_id: int | None,
    station_id: int | None,
) -> sa.Select[Any]:
    query = query.where(table.c.start >= since, table.c.start < until)
    if product_id is not None:
        query = query.where(table.c.product_id == product_id)
    return query if station_id is None else query.where(table.c.station_id == station_id)


def _cut(bucket: Bucket, timezone: tzinfo) -> Callable[[datetime], datetime]:
    """Maps a quarter's start to its bucket's start, in UTC so that the hour that comes twice stays two hours."""
    if bucket == "hour":
        # From the local minute, not by replacing it, which would lose the fold of the repeated hour.
        return lambda start: start - timedelta(minutes=start.astimezone(timezone).minute)
    if bucket == "day":

        def midnight(start: datetime) -> datetime:
            local = start.astimezone(timezone)
            return local.replace(hour=0, minute=0, fold=0).astimezone(UTC)

        return midnight
    return lambda start: start
