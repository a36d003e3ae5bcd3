"""Samples found by what is known of them, and where and when they were seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from agent.service import reviews
from agent.store import coverage, epochs, items, products, sample_search, samples, stations, trends
from agent.store.coverage import Seen, Weeks
from agent.store.engine import reading, writing
from agent.store.sample_search import Wanted
from agent.store.samples import NewSample, Sample
from tests.databases import NOW, Line, add_blob, sha
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")

BERLIN = ZoneInfo("Europe/Berlin")
SHIFTS = (time(6), time(14), time(22))


def _add(here: Line, conn: Connection, number: int, role: str = "train", **changes: object) -> Sample:
    add_blob(conn, number)
    new = NewSample(here.product_id, role, "flagged", sha(number), sha(number), serial=f"s{number}", added_by=1)
    return samples.add(conn, replace(new, **changes), NOW + timedelta(days=number))  # type: ignore[arg-type]


def test_a_search_finds_each_by_what_is_known_of_it(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        made = [
            _add(here, conn, 0),
            _add(here, conn, 1, state="proposed"),
            _add(here, conn, 2, "defect", reason="dent", lot="L1"),
            _add(here, conn, 3, origin="import", station_id=here.station_id, added_by=2),
            _add(here, conn, 4, state="quarantined"),
        ]
        _add(here, conn, 5, product_id=other)
        samples.revoke(conn, made[0].id, NOW)
        asked: list[tuple[dict[str, object], set[int]]] = [
            ({}, {0, 1, 2, 3, 4}), ({"role": "train"}, {0, 1, 3, 4}), ({"state": "accepted"}, {2, 3}),
            ({"state": "revoked"}, {0}), ({"state": "quarantined"}, {4}), ({"origin": "import"}, {3}),
            ({"reason": "dent"}, {2}), ({"lot": "L1"}, {2}), ({"serial": "s1"}, {1}), ({"added_by": 2}, {3}),
            ({"station_id": here.station_id}, {3}), ({"since": NOW + timedelta(days=3)}, {3, 4}),
            ({"until": NOW + timedelta(days=3)}, {0, 1, 2}), ({"serial": "%"}, set()),
        ]  # fmt: skip
        for given, numbers in asked:
            wanted = Wanted(product_id=here.product_id, **given)  # type: ignore[arg-type]
            found = sample_search.search(conn, wanted, 10)
            assert {one.sample.id for one in found} == {made[n].id for n in numbers}, given
            assert sample_search.count(conn, wanted) == len(numbers)
        assert sample_search.count(conn, Wanted(product_id=here.product_id), 3) == 3


def test_pages_follow_one_another_in_both_orders(here: Line) -> None:
    with writing(here.engine) as conn:
        ids = [_add(here, conn, number).id for number in range(5)]
        wanted = Wanted(product_id=here.product_id)

        def page(before: int | None, oldest_first: bool) -> list[int]:
            found = sample_search.search(conn, wanted, 2, before=before, oldest_first=oldest_first)
            return [one.sample.id for one in found]

        assert page(None, False) == ids[:-3:-1] and page(ids[3], False) == [ids[2], ids[1]]
        assert page(None, True) == ids[:2] and page(ids[1], True) == ids[2:4]


def test_a_sample_comes_with_the_part_that_it_shows(here: Line) -> None:
    with writing(here.engine) as conn:
        item = here.add_item(conn, 7, thumbnail_sha256=add_blob(conn, 8))
        items.set_state(conn, item.id, "closed", expected=["open"], decision="normal", now=NOW)
        new = NewSample(here.product_id, "train", "flagged", sha(7), sha(7), item_id=item.id)
        one = samples.add(conn, replace(new, station_id=here.station_id), NOW)
        imported = _add(here, conn, 9, origin="import")
        found = sample_search.some(conn, [one.id, imported.id, 99])
    assert set(found) == {one.id, imported.id}
    assert (found[one.id].station, found[one.id].seen_at, found[one.id].thumbnail_sha256) == ("press-1", NOW, sha(8))
    assert found[one.id].sample == one
    assert (found[imported.id].station, found[imported.id].seen_at) == (None, None)


def _told(here: Line) -> list[int]:
    """The items of the samples that are told."""
    with reading(here.engine) as conn:
        wanted = Wanted(product_id=here.product_id)
        found = [one.sample for one in sample_search.search(conn, wanted, 10)]
        assert sample_search.count(conn, wanted) == len(found)
        assert set(sample_search.some(conn, range(1, 10))) == {one.id for one in found}
    return [one.item_id for one in found if one.item_id]


@pytest.mark.parametrize("kind", ["audit", "flagged"])
@pytest.mark.parametrize("decision", [("normal", None), ("defect", "dent")])
def test_no_sample_is_told_while_another_view_of_its_part_waits(
    here: Line, kind: str, decision: tuple[str, str | None]
) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        views = [here.add_item(conn, n, kind=kind, serial="S1", station_id=(here.station_id, other)[n]) for n in (0, 1)]
        here.add_item(conn, 2, kind=kind, serial="S2")
    reviews.decide(here.engine, here.operator, views[0].id, *decision, key="1", now=NOW)
    assert _told(here) == []
    reviews.decide(here.engine, here.operator, views[1].id, "normal", key="2", now=NOW)
    assert views[0].id in _told(here)


def test_what_an_undo_put_back_into_the_queue_is_told_no_more(here: Line) -> None:
    with writing(here.engine) as conn:
        one = here.add_item(conn, 0, kind="audit")
    reviews.decide(here.engine, here.operator, one.id, "normal", key="1", now=NOW)
    assert _told(here) == [one.id]
    reviews.undo(here.engine, here.operator, one.id, key="2", now=NOW)
    assert _told(here) == []


def test_whether_a_part_waits_is_asked_of_what_waits_alone(here: Line) -> None:
    def work(conn: Connection) -> None:
        sample_search.search(conn, Wanted(product_id=here.product_id), 10)
        sample_search.count(conn, Wanted(product_id=here.product_id))

    found = plans_of(here.engine, work)
    if here.engine.dialect.name == "sqlite":  # PostgreSQL knows how few rows there are, and may read them all
        assert len(found) == 2 and all("ix_item_waiting" in plan for plan in found), found


def _seen(here: Line, conn: Connection, number: int, at: datetime, role: str = "train", **changes: object) -> None:
    item = here.add_item(conn, number, event_at=at)
    new = NewSample(here.product_id, role, "flagged", sha(number), sha(number), item_id=item.id)
    samples.add(conn, replace(new, **({"station_id": here.station_id} | changes)), NOW)  # type: ignore[arg-type]


def test_samples_are_counted_by_the_plants_weeks_and_hours_across_a_change_of_the_clock(here: Line) -> None:
    now = datetime(2026, 4, 2, 12, tzinfo=UTC)  # summer time began on Sunday, March 29th
    weeks = Weeks.until(now, 2, BERLIN, SHIFTS)
    assert weeks.since == datetime(2026, 3, 23, 5, tzinfo=UTC)
    with writing(here.engine) as conn:
        place = stations.add(conn, "press-2", now=NOW).id
        _seen(here, conn, 0, datetime(2026, 3, 23, 4, 59, tzinfo=UTC))  # before the first shift of the first week
        _seen(here, conn, 1, datetime(2026, 3, 23, 5, 0, tzinfo=UTC))  # 06:00 in winter
        _seen(here, conn, 2, datetime(2026, 3, 30, 3, 59, tzinfo=UTC))  # 05:59 in summer, still Sunday's night shift
        _seen(here, conn, 3, datetime(2026, 3, 30, 4, 0, tzinfo=UTC))  # 06:00 in summer
        _seen(here, conn, 4, datetime(2026, 3, 30, 4, 59, tzinfo=UTC), station_id=place)
        _seen(here, conn, 5, datetime(2026, 3, 30, 4, 59, tzinfo=UTC), state="proposed")
        found = coverage.by_time(conn, here.product_id, None, weeks, now)
    assert sorted(found, key=lambda one: (one.week, one.slot, one.station_id)) == [
        Seen(here.station_id, "train", 0, 0, 1),
        Seen(here.station_id, "train", 0, 23, 1),
        Seen(here.station_id, "train", 1, 0, 1),
        Seen(place, "train", 1, 0, 1),
    ]


def test_only_what_a_run_would_take_covers_anything(here: Line) -> None:
    now = NOW + timedelta(days=1)
    weeks = Weeks.until(now, 1, UTC, SHIFTS)
    with writing(here.engine) as conn:
        old = epochs.of_import(conn, here.product_id, NOW).id
        new = epochs.open(conn, here.product_id, "camera", "a lens", now=NOW).id
        for number, (role, epoch) in enumerate((("train", None), ("calibration", old), ("calibration", new))):
            _seen(here, conn, number, NOW, role, epoch_id=epoch)
        _add(here, conn, 10, origin="import")
        assert coverage.by_station(conn, here.product_id, new) == {
            (here.station_id, "train"): 1, (here.station_id, "calibration"): 1, (None, "train"): 1,
        }  # fmt: skip
        seen = coverage.by_time(conn, here.product_id, new, weeks, now)
        assert {(one.role, one.n) for one in seen} == {("train", 1), ("calibration", 1)}
        rows = [here.inspection(n, verdict, event_at=NOW) for n, verdict in enumerate(["pass", "review", "reject"])]
        rows.append(here.inspection(4, "not_inspected", event_at=NOW, reason="no_model"))
        trends.add_inspections(conn, rows)
        assert coverage.inspected(conn, here.product_id, weeks, now) == [Seen(here.station_id, None, 0, 4, 3)]
