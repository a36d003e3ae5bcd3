"""The shift report: which span it covers, what it counts, and a CSV that spreadsheets do not run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.service import reviews
from agent.store import alerts, stations, trends
from agent.store.engine import reading, writing
from dashboard.shift_report import ShiftReport, make, span, to_csv
from tests.databases import NOW, Line

BERLIN = ZoneInfo("Europe/Berlin")
SHIFTS = (time(6), time(14), time(22))


@pytest.mark.parametrize(
    ("day", "begins", "shifts", "hours"),
    [
        (date(2026, 3, 2), time(6), SHIFTS, 8),
        (date(2026, 3, 2), time(22), SHIFTS, 8),
        (date(2026, 3, 28), time(22), SHIFTS, 7),  # summer time begins
        (date(2026, 10, 24), time(22), SHIFTS, 9),  # and ends
        (date(2026, 3, 2), time(6), (time(6),), 24),
    ],
)
def test_a_shift_ends_where_the_next_begins(day: date, begins: time, shifts: tuple[time, ...], hours: int) -> None:
    start, end = span(day, begins, shifts, BERLIN)
    assert (start.date(), start.time()) == (day, begins)
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=hours)


@pytest.mark.usefixtures("each_database")
def test_a_report_counts_its_shift_and_no_other(here: Line) -> None:
    start, end = span(NOW.date(), time(6), SHIFTS, ZoneInfo("UTC"))
    with writing(here.engine) as conn:
        tenth, other = (stations.add(conn, name, now=NOW).id for name in ("press-10", "press-2"))
        rows = [
            here.inspection(0, "review"), here.inspection(1), here.inspection(2, "not_inspected", station_id=other),
            here.inspection(4, station_id=tenth),
        ]  # fmt: skip
        late = here.inspection(3, "reject", event_at=end, station_id=other)
        trends.add_inspections(conn, [*rows, late])
        item = here.add_item(conn, 0, kind="flagged")
        here.add_item(conn, 3, kind="flagged")
        for kind, at in (("disk", NOW), ("data_gap", end)):
            alerts.raise_(conn, kind, kind, f"{kind} words", level="error", detail={}, event=True, now=at)
    reviews.decide(here.engine, here.operator, item.id, "defect", "dent", key="k", now=NOW)
    with reading(here.engine) as conn:
        found = make(conn, start, end, UTC)
    assert [(row["Station"], row["Inspected"], row["Not inspected"], row["Flag rate"]) for row in found.stations] == [
        ("press-1", 2, 0, "50.00%"), ("press-2", 0, 1, "—"), ("press-10", 1, 0, "0.00%"), ("All", 3, 1, "33.33%"),
    ]  # fmt: skip
    assert [row["Defects"] for row in found.stations] == [1, 0, 0, 1]
    assert [dict(row) for row in found.reasons] == [{"Reason": "dent", "Defects": 1, "Cumulative": "100%"}]
    assert [row["What"] for row in found.events] == ["disk words"]
    assert found.waiting == 1


@given(st.text(), st.text())
def test_no_cell_of_the_csv_starts_a_formula(name: str, words: str) -> None:
    at = datetime(2026, 3, 2, 6, tzinfo=UTC)
    rows = [{"Station": name, "Inspected": -3}]
    text = to_csv(ShiftReport(at, at, rows, [], [{"What": f"={words}"}], 0))
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert "-3" in cells
    assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells)
    assert not any(cell.startswith("-") for cell in cells if cell != "-3")


def test_a_text_stays_one_cell_where_another_separator_is_meant() -> None:
    at = datetime(2026, 3, 2, 6, tzinfo=UTC)
    assert '"A;=1+1",-3' in to_csv(ShiftReport(at, at, [{"Station": "A;=1+1", "Inspected": -3}], [], [], 0))
