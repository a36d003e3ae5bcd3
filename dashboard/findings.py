"""What the store knows of what a trend page is asked for: every query of the page, in one read transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time

from sqlalchemy import Connection

from agent.store import closings, marks, reviews, score_bins, trends
from agent.store.buckets import Bucket, Fine, cutter, torn
from agent.store.marks import Mark
from agent.store.reviews import Agreement
from agent.store.scopes import Scope
from agent.store.score_bins import Decided, Histogram
from agent.store.trends import FlagPoint
from dashboard import trending
from dashboard.asking import Asked
from dashboard.trending import Counts


@dataclass(frozen=True, slots=True)
class Findings:
    """Of one window and scope.

    Attributes:
        points: verdicts by bucket, oldest first.
        series: what was flagged and judged, by bucket.
        reasons: of defects, as `dashboard.trending.pareto` gives them.
        marks: what happened meanwhile, in the plant's time.
        rates: counts by what was asked for, the most flagged first; of shifts in their order.
        days: severities by plant day and what decided; {} where no product is asked for and there are several.
        agreement: how two people agreed who judged the same parts.
        hours: for how long frames were inspected on these days.
    """

    points: list[FlagPoint]
    series: Mapping[datetime, Counts]
    reasons: list[tuple[str, int, float]]
    marks: list[Mark]
    rates: dict[str, Counts]
    days: Mapping[Decided, Histogram]
    agreement: Agreement
    hours: float


def find(conn: Connection, asked: Asked) -> Findings:
    """Asks for all of it. Sums are read once, in buckets as wide as can be, and cut here."""
    span, scope, zone = (asked.since, asked.until), asked.scope, asked.zone
    width, split = _width(asked), _torn(asked)
    fine = trends.flag_series(conn, *span, width, scope, split)
    judged = closings.series(conn, *span, width, scope, split)

    def cut(bucket: Bucket) -> tuple[list[FlagPoint], dict[datetime, Counts]]:
        start_of = cutter(bucket, zone, asked.shifts)
        points = trends.recut(fine, start_of, zone)
        return points, trending.series(points, judged, start_of)

    points, series = cut(asked.bucket)
    seen = [Mark(one.at.astimezone(zone), one.kind, one.words) for one in marks.between(conn, *span, scope.product_id)]
    by_shift = asked.by == "shift"
    rates = trending.by_shift(cut("shift")[1], zone, asked.shifts) if by_shift else _rates(conn, asked)
    days, hours = _severities(conn, asked)
    agreed = reviews.agreement(conn, *span, scope)
    reasons = trending.pareto(closings.counts(conn, *span, scope))
    return Findings(points, series, reasons, seen, rates, days, agreed, hours)


def _width(asked: Asked) -> Fine:
    """Of the widest buckets that make up those asked for."""
    return asked.bucket if asked.bucket in ("minute", "quarter") else "hour"


def _torn(asked: Asked) -> set[datetime]:
    """The hours of which not all belongs to one bucket, or to one shift where rates are told apart by shifts."""
    if _width(asked) != "hour":
        return set()
    cuts: set[Bucket] = {asked.bucket, "shift"} if asked.by == "shift" else {asked.bucket}
    return {hour for one in cuts for hour in torn(one, asked.zone, asked.shifts, asked.since, asked.until)}


def _rates(conn: Connection, asked: Asked) -> dict[str, Counts]:
    span, scope = (asked.since, asked.until), asked.scope
    column, names = {
        "station": ("station_id", asked.stations), "product": ("product_id", asked.products), "lot": ("lot", None),
    }[asked.by]  # fmt: skip
    totals, judged = trends.totals(conn, *span, column, scope), closings.judged(conn, *span, column, scope)
    return trending.grouped(totals, judged, names)


def _severities(conn: Connection, asked: Asked) -> tuple[Mapping[Decided, Histogram], float]:
    product_id, station_id = asked.scored, asked.scope.station_id
    if product_id is None:
        return {}, 0.0
    first, last = asked.days
    midnight = datetime.combine(first, time(), asked.zone)
    hours = trends.hours_run(conn, midnight, asked.until, Scope(product_id, station_id))
    return score_bins.daily(conn, product_id, first, last, station_id), hours
