"""One shift on one page: what the line made, what was flagged and judged, what went wrong. Pure but for its query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo

from sqlalchemy import Connection

from agent.store import alerts, closings, items, marks, stations, trends
from agent.store.buckets import end_of
from agent.store.closings import NOBODY, Judged
from agent.store.trends import NOTHING, Totals
from dashboard import sheets
from dashboard.andon import natural
from dashboard.trending import pareto, rate
from dashboard.words import later

Rows = Sequence[Mapping[str, object]]
MOST = 100_000
ALL = later("All")


@dataclass(frozen=True, slots=True)
class ShiftReport:
    """Tables of one shift, each with its rows in order.

    Attributes:
        start, end: of the shift, in plant time.
        stations: a row each, then all together.
        reasons: of defects, the most frequent first.
        events: alerts, new models, changes of the stream and data gaps, in the plant's time.
        waiting: items that wait for a review now, counted up to `MOST`.
    """

    start: datetime
    end: datetime
    stations: Rows
    reasons: Rows
    events: Rows
    waiting: int


def span(day: date, begins: time, shifts: Sequence[time], zone: tzinfo) -> tuple[datetime, datetime]:
    """From the beginning of a shift to that of the next, in plant time; aware."""
    start = datetime.combine(day, begins, zone)
    return start, end_of(start, "shift", zone, shifts).astimezone(zone)


def make(conn: Connection, start: datetime, end: datetime, zone: tzinfo) -> ShiftReport:
    """The report of [start, end)."""
    sums = trends.totals(conn, start, end, "station_id")
    judged = closings.judged(conn, start, end, "station_id")
    names = {station.id: station.name for station in stations.all(conn, retired=True)}
    rows = [
        _row(names[one], sums.get(one, NOTHING), judged.get(one, NOBODY))
        for one in sorted(sums.keys() | judged.keys(), key=lambda one: natural(names[one]))
    ]
    if len(rows) > 1:
        rows.append(_row(ALL, sum(sums.values(), NOTHING), sum(judged.values(), NOBODY)))
    reasons = [
        {later("Reason"): reason, later("Defects"): n, later("Cumulative"): f"{share:.0%}"}
        for reason, n, share in pareto(closings.counts(conn, start, end))
    ]
    waiting = items.waiting(conn, None, escalated=True, most=MOST)
    return ShiftReport(start, end, rows, reasons, _events(conn, start, end, zone), waiting)


def _row(name: str, sums: Totals, judged: Judged) -> dict[str, object]:
    return {
        later("Station"): name,
        later("Inspected"): sums.inspected,
        later("Not inspected"): sums.not_inspected,
        later("Late"): sums.late,
        later("Flagged"): sums.flagged,
        later("Flag rate"): rate(sums.flagged, sums.inspected),
        later("Judged"): judged.flagged,
        later("False calls"): judged.false_calls,
        later("Defects"): judged.defects,
        later("Defect rate"): rate(judged.defects, sums.inspected),
    }


def _events(conn: Connection, start: datetime, end: datetime, zone: tzinfo) -> Rows:
    found = [(one.opened_at, one.level, one.told) for one in alerts.opened_between(conn, start, end)]
    found += [(one.at, one.kind, one.words) for one in marks.between(conn, start, end)]
    return [
        {later("Time"): f"{at.astimezone(zone):%H:%M}", later("Kind"): kind, later("What"): words}
        for at, kind, words in sorted(found)
    ]


def to_csv(report: ShiftReport) -> str:
    """The tables one after another, after one of the shift itself."""
    shift = [{"Shift from": f"{report.start:%Y-%m-%d %H:%M}", "to": f"{report.end:%Y-%m-%d %H:%M}"}]
    return sheets.to_csv(shift, report.stations, report.reasons, report.events)
