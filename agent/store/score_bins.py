"""Score bins: how severe the scores of each plant day were, as counts in fixed bins, kept for good.

A bin holds the severities (model.certificate: 0 is the review threshold, 1 an interquartile range above it) between
sinh(bin / 16) and sinh((bin + 1) / 16): 1/16 wide about 0, 6 % of their size far out, negative ones likewise. Beyond
+-LIMIT, infinities too, all count in the outermost bin. Frames without a severity are in none: nothing certified
decided them, or they were not inspected.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.inspections import Inspection
from agent.store.rows import insert_sums
from agent.store.tables import score_bin

LIMIT = 1e6
KEY = ("day", "station_id", "product_id", "deployment_id", "bin")
_PER_UNIT = 16
Decided = tuple[date, int]  # a plant day, and the id of the deployment that decided


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many severities lie in each bin."""

    counts: Mapping[int, int]

    @property
    def n(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> tuple[float, float] | None:
        """The edges of the bin in which that quantile (0 .. 1, the smallest with so many at or below) lies."""
        below, wanted = 0, max(1, math.ceil(share * self.n))
        for number in sorted(self.counts):
            below += self.counts[number]
            if below >= wanted:
                return edges(number)
        return None

    def flagged_at(self, severity: float) -> tuple[int, int]:
        """How many would be flagged were the review threshold at that severity: at least, and at most.

        They differ by the bin in which the threshold lies.
        """
        split = bin_of(severity)
        above = sum(n for number, n in self.counts.items() if number > split)
        return above, above + self.counts.get(split, 0)


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    return Histogram(sum((Counter(one.counts) for one in histograms), Counter[int]()))


def bin_of(severity: float) -> int:
    """The bin of a severity that is a number."""
    return math.floor(place_of(severity))


def place_of(severity: float) -> float:
    """Where a severity lies on the axis on which every bin is 1 wide and begins at its number."""
    return _PER_UNIT * math.asinh(max(-LIMIT, min(LIMIT, severity)))


def edges(number: int) -> tuple[float, float]:
    """Where a bin begins and ends, in severity."""
    return math.sinh(number / _PER_UNIT), math.sinh((number + 1) / _PER_UNIT)


def day_of(moment: datetime, timezone: tzinfo) -> date:
    """The plant day of a moment."""
    try:
        return moment.astimezone(timezone).date()
    except OverflowError:  # a record's timestamp may be at the end of time
        return moment.date()


def add_inspections(conn: Connection, rows: Iterable[Inspection], timezone: tzinfo) -> None:
    """Counts the inspections of one partition's transaction."""
    sums: Counter[tuple[Any, ...]] = Counter(
        (day_of(row.event_at, timezone), row.station_id, row.product_id, row.deployment_id, bin_of(row.severity))
        for row in rows
        if row.deployment_id is not None and row.severity is not None
    )
    if sums:
        new = [dict(zip((*KEY, "n"), (*key, sums[key]), strict=True)) for key in sorted(sums)]
        conn.execute(insert_sums(conn, score_bin, KEY, ("n",)), new)


def histogram(
    conn: Connection,
    product_id: int,
    first: date,
    last: date,
    station_id: int | None = None,
    deployment_id: int | None = None,
) -> Histogram:
    """The severities of a product's frames over plant days.

    Args:
        conn: any transaction.
        product_id: of that product.
        first: the first day.
        last: the last one, included.
        station_id: only this station's.
        deployment_id: only those that this deployment decided; others have other thresholds and units.
    """
    row = score_bin.c
    query = _of(sa.select(row.bin, sa.func.sum(row.n)), product_id, first, last, station_id)
    if deployment_id is not None:
        query = query.where(row.deployment_id == deployment_id)
    return Histogram({number: int(n) for number, n in conn.execute(query.group_by(row.bin))})


def daily(
    conn: Connection, product_id: int, first: date, last: date, station_id: int | None = None
) -> dict[Decided, Histogram]:
    """As `histogram`, for each day that has a severity and each deployment that decided on it, oldest first."""
    row = score_bin.c
    by = (row.day, row.deployment_id)
    query = _of(sa.select(*by, row.bin, sa.func.sum(row.n)), product_id, first, last, station_id)
    days: dict[Decided, dict[int, int]] = {}
    for day, deployment_id, number, n in conn.execute(query.group_by(*by, row.bin).order_by(*by)):
        days.setdefault((day, deployment_id), {})[number] = int(n)
    return {decided: Histogram(counts) for decided, counts in days.items()}


def _of(query: sa.Select[Any], product_id: int, first: date, last: date, station_id: int | None) -> sa.Select[Any]:
    query = query.where(score_bin.c.product_id == product_id, score_bin.c.day.between(first, last))
    return query if station_id is None else query.where(score_bin.c.station_id == station_id)
