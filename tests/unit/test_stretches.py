"""Wide sums say what narrow ones say: of any window, in any timezone, whatever the shifts are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.store import buckets, closings, products, stations, trends
from agent.store.buckets import HOUR, Bucket
from agent.store.closings import Judged
from agent.store.engine import reading, writing
from agent.store.inspections import Inspection
from agent.store.scopes import Scope
from agent.store.stretches import stretches
from agent.store.tables import rollup_hour, rollup_quarter
from agent.store.trends import Totals
from dashboard.asking import Asked
from dashboard.findings import find
from dashboard.trending import Counts
from tests.databases import Line, line

# Over the changes of the clock in Berlin (29 March) and on Lord Howe Island (5 April, by half an hour).
SINCE, DAYS = datetime(2026, 3, 27, tzinfo=UTC), 11
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu")
SHIFTS = ((time(),), (time(6), time(14), time(22)), (time(5, 45), time(13, 30), time(21)), (time(2, 30), time(14)))
MINUTES = st.integers(0, DAYS * 24 * 60)


@dataclass(frozen=True)
class Closed:
    """An item that was closed, and whether that was undone."""

    item: Any
    decision: str
    reason: str | None
    undone: bool


class Plant:
    """What was inspected and judged: two stations, two products and some lots. No dataclass: those are shown whole."""

    def __init__(self, here: Line, seen: list[Inspection], closed: list[Closed]) -> None:
        self.here, self.seen, self.closed = here, seen, closed


@pytest.fixture(scope="module")
def plant(each_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    rng = random.Random(7)
    with line(tmp_path_factory.mktemp("plant")) as here:
        with writing(here.engine) as conn:
            places = (here.station_id, stations.add(conn, "press-2", now=SINCE).id)
            made = (here.product_id, products.add(conn, "bracket", now=SINCE).id)
            item = here.add_item(conn, 0)

        def part() -> dict[str, Any]:
            at = SINCE + timedelta(minutes=rng.randrange(DAYS * 24 * 60), seconds=rng.randrange(60))
            return {
                "event_at": at, "station_id": rng.choice(places), "product_id": rng.choice(made),
                "lot": rng.choice(("A", "B", None)),
            }  # fmt: skip

        seen = [here.inspection(n, rng.choice(trends.VERDICTS), **part()) for n in range(800)]
        closed = [
            Closed(
                replace(item, kind=rng.choice(("flagged", "flagged", "audit", "failed")), verdict=rng.choice(
                    ("review", "review", "pass")), **part()),
                decision, rng.choice(("dent", "crack")) if decision == "defect" else None, rng.random() < 0.3,
            )
            for decision in rng.choices(("normal", "defect"), k=250)
        ]  # fmt: skip
        with writing(here.engine) as conn:
            for begin in range(0, len(seen), 100):  # some buckets are added to later
                trends.add_inspections(conn, seen[begin : begin + 100])
            for one in closed:
                closings.add(conn, one.item, one.decision, one.reason, 1)
            for one in closed:
                if one.undone:
                    closings.add(conn, one.item, one.decision, one.reason, -1)
        yield Plant(here, seen, closed)


def _kind(one: Closed) -> str:
    kind: str = one.item.kind
    if kind == "failed":
        return kind
    flagged: bool = one.item.verdict == "review"
    return "flagged" if flagged else {"flagged": "second"}.get(kind, kind)


def _of(scope: Scope, since: datetime, until: datetime) -> Callable[[Any], bool]:
    """Whether a part is of these: its quarter hour begins in the window."""
    wanted = {"product_id": scope.product_id, "station_id": scope.station_id, "lot": scope.lot}
    wanted = {name: value for name, value in wanted.items() if value is not None}

    def matches(part: Any) -> bool:
        within = since <= buckets.quarter(part.event_at) < until
        return within and all(getattr(part, name) == value for name, value in wanted.items())

    return matches


def _total(rows: list[Inspection]) -> Totals:
    verdicts = Counter(row.verdict for row in rows)
    flagged = verdicts["review"] + verdicts["reject"]
    return Totals(verdicts["pass"] + flagged, flagged, verdicts["not_inspected"], sum(row.late for row in rows))


def _judged(rows: list[Closed]) -> Judged:
    flagged = [one for one in rows if _kind(one) == "flagged"]
    return Judged(
        len(flagged), sum(one.decision == "normal" for one in flagged), sum(one.decision == "defect" for one in rows)
    )


def _grouped(rows: list[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found


@st.composite
def _asked(draw: st.DrawFn) -> Asked:
    begin, end = sorted((draw(MINUTES), draw(MINUTES)))
    lot = draw(st.sampled_from((None, None, "A")))
    bucket: Bucket = draw(st.sampled_from(("quarter", "hour", "shift", "day")))
    return Asked(
        "", SINCE + timedelta(minutes=begin), SINCE + timedelta(minutes=end), bucket, Scope(lot=lot), "flagged",
        draw(st.sampled_from(("station", "product", "lot", "shift"))), ZoneInfo(draw(st.sampled_from(ZONES))),
        draw(st.sampled_from(SHIFTS)), {}, {},
    )  # fmt: skip


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=_asked())
def test_a_trend_counts_every_part_of_its_window_once(plant: Plant, asked: Asked) -> None:
    span, scope = (asked.since, asked.until), asked.scope
    seen = [row for row in plant.seen if _of(scope, *span)(row)]
    closed = [one for one in plant.closed if _of(scope, *span)(one.item) and _kind(one) != "failed" and not one.undone]
    cut = buckets.cutter(asked.bucket, asked.zone, asked.shifts)
    with reading(plant.here.engine) as conn:
        found = find(conn, asked)
    frames = _grouped(seen, lambda row: cut(buckets.quarter(row.event_at)))
    parts = _grouped(closed, lambda one: cut(buckets.quarter(one.item.event_at)))
    assert [
        (point.start.astimezone(UTC), point.inspected, point.flagged, point.not_inspected) for point in found.points
    ] == [(start, *_said(frames[start])) for start in sorted(frames)]
    wanted = {
        start: Counts(*_said(frames.get(start, []))[:2], *_fields(_judged(parts.get(start, []))))
        for start in frames.keys() | parts.keys()
    }
    assert {start: one for start, one in found.series.items() if one != Counts()} == {
        start: one for start, one in wanted.items() if one != Counts()
    }
    assert all(one.start.tzinfo == asked.zone for one in found.points)
    rates, whole = sum(found.rates.values(), Counts()), sum(wanted.values(), Counts())
    assert (rates.inspected, rates.flagged) == (whole.inspected, whole.flagged)
    assert asked.by != "shift" or rates == whole
    reasons = Counter(one.reason for one in closed if one.decision == "defect")
    assert {reason: n for reason, n, _ in found.reasons} == dict(reasons)


def _said(rows: list[Inspection]) -> tuple[int, int, int]:
    one = _total(rows)
    return one.inspected, one.flagged, one.not_inspected


def _fields(one: Judged) -> tuple[int, int, int]:
    return one.flagged, one.false_calls, one.defects


@settings(max_examples=50, deadline=None)
@given(ends=st.tuples(MINUTES, MINUTES), by=st.sampled_from(("station_id", "product_id", "lot")), lot=st.booleans())
def test_sums_by_a_column_are_those_of_the_parts(plant: Plant, ends: tuple[int, int], by: str, lot: bool) -> None:
    since, until = (SINCE + timedelta(minutes=one) for one in sorted(ends))
    scope = Scope(lot="B") if lot else Scope(station_id=plant.here.station_id)
    within = _of(scope, since, until)
    closed = [one for one in plant.closed if within(one.item)]
    with reading(plant.here.engine) as conn:
        totals = trends.totals(conn, since, until, by, scope)
        judged = closings.judged(conn, since, until, by, scope)
        counts = closings.counts(conn, since, until, scope)
    rows = _grouped([row for row in plant.seen if within(row)], lambda row: getattr(row, by) or "")
    assert totals == {key: _total(found) for key, found in rows.items()}
    parts = _grouped([one for one in closed if _kind(one) != "failed"], lambda one: getattr(one.item, by) or "")
    assert judged == {key: _judged([one for one in found if not one.undone]) for key, found in parts.items()}
    assert counts == Counter((_kind(one), one.decision, one.reason or "") for one in closed if not one.undone)


@settings(max_examples=50, deadline=None)
@given(ends=st.tuples(MINUTES, MINUTES), hours=st.sets(st.integers(0, DAYS * 24), max_size=40), lot=st.booleans())
def test_any_cut_of_any_window_counts_what_its_quarters_count(
    plant: Plant, ends: tuple[int, int], hours: set[int], lot: bool
) -> None:
    since, until = (SINCE + timedelta(minutes=one) for one in sorted(ends))
    scope, torn = Scope(lot="A" if lot else None), {SINCE + n * HOUR for n in hours}

    def wide(start: datetime) -> datetime:
        whole = buckets.hour(start)
        return start if whole in torn or whole < since or whole + HOUR > until else whole

    with reading(plant.here.engine) as conn:
        seen = trends.flag_series(conn, since, until, "quarter", scope)
        found = trends.flag_series(conn, since, until, "hour", scope, torn)
        said = closings.series(conn, since, until, "quarter", scope)
        judged = closings.series(conn, since, until, "hour", scope, torn)
    assert found == trends.recut(seen, wide)
    wanted: dict[datetime, Judged] = {}
    for start, one in said.items():
        wanted[wide(start)] = wanted.get(wide(start), closings.NOBODY) + one
    nobody = closings.NOBODY  # of what was undone rows of nothing are left
    assert {start: one for start, one in judged.items() if one != nobody} == {
        start: one for start, one in wanted.items() if one != nobody
    }


@settings(max_examples=50, deadline=None)
@given(ends=st.tuples(MINUTES, MINUTES), hours=st.sets(st.integers(0, DAYS * 24), max_size=40))
def test_stretches_read_each_quarter_of_the_window_once(plant: Plant, ends: tuple[int, int], hours: set[int]) -> None:
    since, until = (SINCE + timedelta(minutes=one) for one in sorted(ends))
    torn = {SINCE + n * HOUR for n in hours}
    read: list[datetime] = []
    with reading(plant.here.engine) as conn:
        for table, rows in stretches(since, until, rollup_quarter, rollup_hour, HOUR, torn):
            starts = conn.execute(sa.select(table.c.start).where(rows).distinct()).scalars().all()
            count = 4 if table is rollup_hour else 1
            read += [start + n * buckets.QUARTER for start in starts for n in range(count)]
            assert count == 1 or not torn & set(starts)
        kept = sa.select(rollup_quarter.c.start).distinct()
        window = kept.where(rollup_quarter.c.start >= since, rollup_quarter.c.start < until)
        quarters = set(conn.execute(window).scalars())
    assert len(read) == len(set(read)) and quarters <= set(read)
    assert all(since <= one < until for one in read)


@pytest.mark.parametrize(
    ("zone", "bucket", "shifts", "hours"),
    [
        ("Europe/Berlin", "day", SHIFTS[0], set()),
        ("Europe/Berlin", "shift", SHIFTS[1], set()),
        ("Europe/Berlin", "shift", SHIFTS[2], {"03", "04", "11", "12"}),  # 05:45 and 13:30, in summer and winter
        ("Asia/Kolkata", "hour", SHIFTS[0], {f"{hour:02}" for hour in range(24)}),
        ("Asia/Kolkata", "day", SHIFTS[0], {"18"}),
        ("Asia/Kolkata", "shift", (time(2, 30), time(14, 30)), set()),
        ("Asia/Kathmandu", "day", SHIFTS[0], {"18"}),
    ],
)
def test_only_hours_that_a_bucket_begins_within_are_torn(
    zone: str, bucket: Bucket, shifts: tuple[time, ...], hours: set[str]
) -> None:
    torn = buckets.torn(bucket, ZoneInfo(zone), shifts, SINCE, SINCE + timedelta(days=DAYS))
    assert {one.strftime("%H") for one in torn} == hours
    assert all(one == buckets.hour(one) for one in torn)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.sampled_from(ZONES),
    st.sampled_from(SHIFTS),
    st.sampled_from(("hour", "shift", "day")),
)
def test_an_hour_lies_in_two_buckets_where_it_is_torn(
    moment: datetime, zone: str, shifts: tuple[time, ...], bucket: Bucket
) -> None:
    start, plant = buckets.hour(moment.replace(tzinfo=UTC)), ZoneInfo(zone)
    cut = buckets.cutter(bucket, plant, shifts)
    lies_in = {cut(start + n * buckets.QUARTER) for n in range(4)}
    assert (start in buckets.torn(bucket, plant, shifts, start, start + HOUR)) == (len(lies_in) > 1)
