"""What trends are made of: buckets of the plant's time, closings, marks, and daily severities."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.service import reviews
from agent.store import buckets, closings, gaps, marks, score_bins, trends
from agent.store.closings import Judged
from agent.store.engine import reading, writing
from agent.store.scopes import Scope
from agent.store.trends import Totals
from tests.databases import NOW, Line

BERLIN = ZoneInfo("Europe/Berlin")
SHIFTS = (time(6), time(14), time(22))
SPAN = (NOW - timedelta(days=1), NOW + timedelta(days=1))
both = pytest.mark.usefixtures("each_database")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02 05:45", "2026-03-01 22:00"),
        ("2026-03-02 06:00", "2026-03-02 06:00"),
        ("2026-03-02 21:45", "2026-03-02 14:00"),
        ("2026-03-29 03:00", "2026-03-28 22:00"),  # the night that is an hour short
        ("2026-10-25 05:45", "2026-10-24 22:00"),  # and the one that is an hour long
    ],
)
def test_a_shift_begins_in_plant_time_and_ends_with_the_next(moment: str, expected: str) -> None:
    start = datetime.fromisoformat(moment).replace(tzinfo=BERLIN).astimezone(UTC)
    found = buckets.cutter("shift", BERLIN, SHIFTS)(start)
    assert found.astimezone(BERLIN).replace(tzinfo=None) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Europe/Berlin", "2026-03-29", (time(2), time(10), time(18))),
        ("Europe/Berlin", "2026-03-29", (time(2, 30), time(14))),
        ("Africa/Cairo", "2026-04-24", (time(),)),
        ("America/Santiago", "2026-09-06", (time(),)),
        ("Europe/Berlin", "2026-10-25", (time(2), time(10), time(18))),
    ],
)
def test_a_shift_that_begins_as_the_clock_changes_begins_and_ends_once(
    zone: str, day: str, begins: tuple[time, ...]
) -> None:
    plant = ZoneInfo(zone)
    cut = buckets.cutter("shift", plant, begins)
    quarters = [
        datetime.fromisoformat(day).replace(tzinfo=plant).astimezone(UTC) + timedelta(minutes=15 * n)
        for n in range(-8, 110)
    ]
    starts = sorted({cut(one) for one in quarters})
    assert all(cut(one) <= one < buckets.end_of(cut(one), "shift", plant, begins) for one in quarters)
    assert [buckets.end_of(one, "shift", plant, begins) for one in starts[:-1]] == starts[1:]
    assert {buckets.nominal(one, plant, begins) for one in starts} <= set(begins)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.sampled_from(["hour", "shift", "day"]))
def test_every_quarter_is_in_the_bucket_that_began_last(moment: datetime, bucket: buckets.Bucket) -> None:
    start = buckets.quarter(moment.replace(tzinfo=UTC))
    cut = buckets.cutter(bucket, BERLIN, SHIFTS)
    begin = cut(start)
    assert begin <= start < begin + timedelta(hours={"hour": 1, "shift": 9, "day": 25}[bucket])
    assert cut(begin) == begin
    end = buckets.end_of(begin, bucket, BERLIN, SHIFTS)
    assert start < end and cut(end) == end and cut(end - timedelta(minutes=15)) == begin
    assert cut(start - timedelta(minutes=15)) in {begin, cut(begin - timedelta(minutes=15))}


def _closed(here: Line, number: int, decision: str, reason: str | None = None, **more: object) -> int:
    with writing(here.engine) as conn:
        item = here.add_item(conn, number, **more)
    reviews.decide(here.engine, here.operator, item.id, decision, reason, key=f"k{number}", now=NOW)
    return item.id


@both
def test_a_false_call_is_a_flagged_part_that_closed_as_normal(here: Line) -> None:
    _closed(here, 0, "normal", kind="flagged", lot="A")
    _closed(here, 1, "defect", "dent", kind="flagged", lot="A")
    _closed(here, 2, "normal", kind="audit", verdict="pass", lot="B")
    unsure = _closed(here, 3, "unsure", kind="flagged", lot="B")
    with reading(here.engine) as conn:
        assert closings.judged(conn, *SPAN, "lot") == {"A": Judged(2, 1, 1), "B": Judged(0, 0, 0)}
        assert closings.judged(conn, *SPAN, "station_id", Scope(lot="B")) == {here.station_id: Judged(0, 0, 0)}
    reviews.decide(here.engine, here.engineer, unsure, "defect", "crack", key="e", now=NOW)
    with reading(here.engine) as conn:
        assert closings.judged(conn, *SPAN, "lot") == {"A": Judged(2, 1, 1), "B": Judged(1, 0, 1)}
        assert closings.series(conn, *SPAN, "quarter", Scope(lot="B")) == {buckets.quarter(NOW): Judged(1, 0, 1)}
        assert closings.counts(conn, *SPAN, Scope(lot="B")) == {
            ("audit", "normal", ""): 1, ("flagged", "defect", "crack"): 1,
        }  # fmt: skip


@both
def test_a_flagged_part_that_was_drawn_for_the_audit_too_is_judged_as_any_other(here: Line) -> None:
    """The flag rate counts it, so the false-call rate does: how a part came to people says nothing of the model."""
    _closed(here, 0, "normal", kind="audit", verdict="review")
    found = _closed(here, 1, "defect", "dent", kind="audit", verdict="reject")
    _closed(here, 2, "defect", "dent", kind="audit", verdict="pass")
    with reading(here.engine) as conn:
        assert closings.judged(conn, *SPAN, "station_id") == {here.station_id: Judged(2, 1, 2)}
        assert closings.series(conn, *SPAN, "quarter") == {buckets.quarter(NOW): Judged(2, 1, 2)}
    reviews.undo(here.engine, here.operator, found, key="u", now=NOW)
    with reading(here.engine) as conn:
        assert closings.judged(conn, *SPAN, "station_id") == {here.station_id: Judged(1, 1, 1)}


@both
def test_totals_by_lot_leave_out_what_was_not_inspected(here: Line) -> None:
    with writing(here.engine) as conn:
        kinds = (("pass", "A"), ("review", "A"), ("not_inspected", "A"), ("reject", None))
        trends.add_inspections(conn, [here.inspection(n, verdict, lot=lot) for n, (verdict, lot) in enumerate(kinds)])
    with reading(here.engine) as conn:
        assert trends.totals(conn, *SPAN, "lot") == {"A": Totals(2, 1, 1, 0), "": Totals(1, 1, 0, 0)}
        assert trends.totals(conn, *SPAN, "station_id", Scope(lot="A")) == {here.station_id: Totals(2, 1, 1, 0)}
        assert trends.totals(conn, NOW + timedelta(hours=1), SPAN[1], "lot") == {}


@both
def test_marks_are_new_models_new_epochs_and_gaps(here: Line) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 1)
        gaps.add(conn, here.stream_id, 0, 3, 9, "below_start", NOW + timedelta(minutes=1))
    with reading(here.engine) as conn:
        found = marks.between(conn, *SPAN, here.product_id)
        assert marks.between(conn, NOW + timedelta(hours=1), SPAN[1]) == []
        assert [mark.kind for mark in marks.between(conn, *SPAN, here.product_id + 1)] == ["gap"]
    assert [(mark.kind, mark.words) for mark in found] == [
        ("model", "flange: v1 decides (test)"),
        ("gap", "partition 0: below start, offsets 3 to 9"),
    ]


@both
def test_severities_by_day_and_by_what_decided_are_those_of_the_whole(here: Line) -> None:
    days = [NOW + timedelta(days=n) for n in (0, 0, 1, 1)]
    with writing(here.engine) as conn:
        first, second = here.deploy(conn, 1), here.deploy(conn, 2)
        rows = [
            here.inspection(n, event_at=day, severity=float(n), deployment_id=second if n == 3 else first)
            for n, day in enumerate(days)
        ]
        score_bins.add_inspections(conn, rows, UTC)
        span = (here.product_id, NOW.date(), NOW.date() + timedelta(days=1))
        by_day = score_bins.daily(conn, *span)
        whole = score_bins.histogram(conn, *span)
        assert score_bins.daily(conn, *span, here.station_id + 1) == {}
    assert {decided: found.n for decided, found in by_day.items()} == {
        (date(2026, 3, 2), first): 2, (date(2026, 3, 3), first): 1, (date(2026, 3, 3), second): 1,
    }  # fmt: skip
    assert sum(found.n for found in by_day.values()) == whole.n
