"""What the Line page reads of each station: waiting parts, the newest picture, and rates to compare with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.store import items, products, station_work, stations, trends
from agent.store.engine import reading, writing
from tests.databases import NOW, Line, sha
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")


def test_what_waits_is_counted_by_station_up_to_a_limit(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        stations.add(conn, "press-3", now=NOW)
        kept = [here.add_item(conn, n) for n in range(4)]
        here.add_item(conn, 4, kind="teach")
        here.add_item(conn, 5, station_id=other, kind="audit", watched=True)
        items.set_state(conn, kept[0].id, "closed", expected=["open"], decision="normal", now=NOW)
        items.set_state(conn, kept[1].id, "escalated", expected=["open"], decision=None, now=NOW)
    with reading(here.engine) as conn:
        assert station_work.waiting(conn, 500) == {here.station_id: 3, other: 1}
        assert station_work.waiting(conn, 2) == {here.station_id: 2, other: 1}


def test_the_newest_judged_picture_is_found_and_none_of_what_waits(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        kept = [
            here.add_item(
                conn, n, kind=kind, preview_sha256=sha(n), overlay_sha256=sha(n), event_at=NOW + timedelta(seconds=n)
            )
            for n, kind in enumerate(("flagged", "audit"))
        ]
        kept.append(here.add_item(conn, 2, preview_sha256=sha(2), event_at=NOW + timedelta(seconds=2)))
        kept.append(here.add_item(conn, 3))  # its bytes could not be read as a picture
        here.add_item(conn, 4, station_id=other, preview_sha256=sha(4))

    def close(at: int, state: str = "closed") -> dict[int, station_work.Picture]:
        with writing(here.engine) as conn:
            items.set_state(conn, kept[at].id, state, expected=["open"], decision=None, now=NOW)
            return station_work.pictures(conn)

    assert close(1, "escalated") == {}
    assert close(0) == {here.station_id: station_work.Picture(sha(0), True, NOW)}
    newest = {here.station_id: station_work.Picture(sha(2), False, NOW + timedelta(seconds=2))}
    assert close(2) == newest and close(3) == newest


def test_a_picture_is_found_however_many_were_let_go(here: Line) -> None:
    plans = plans_of(here.engine, station_work.pictures)
    assert "ix_item_pictured" in plans[0] and "Sort" not in plans[0] and "B-TREE" not in plans[0], plans


def test_rates_are_told_by_product_and_model_since_a_minute(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        live = here.deploy(conn, 1)
        rows = [here.inspection(n, "review" if n < 2 else "pass", deployment_id=live) for n in range(5)]
        rows += [here.inspection(60 * n, "not_inspected", product_id=other) for n in (-9, 9)]
        trends.add_inspections(conn, rows)
    with reading(here.engine) as conn:
        found = trends.product_rates(conn, NOW)
    start = NOW.replace(second=0)
    assert found == [
        trends.ProductRate(here.station_id, here.product_id, live, 5, 2, start),
        trends.ProductRate(here.station_id, other, 0, 0, 0, start + timedelta(minutes=9)),
    ]


def test_the_usual_rate_is_the_median_of_quarters_that_ran(here: Line) -> None:
    start = NOW.replace(minute=0, second=0)
    with writing(here.engine) as conn:
        counts = (30, 45, 0, 15, 60, 900)  # the last one has not ended
        rows = [
            here.inspection(1000 * quarter + n, event_at=start + timedelta(minutes=15 * quarter), lot=f"L{n % 2}")
            for quarter, count in enumerate(counts)
            for n in range(count)
        ]
        trends.add_inspections(conn, rows)
    until = start + timedelta(minutes=15 * 5 + 7)
    with reading(here.engine) as conn:
        assert trends.usual_rates(conn, start, until, least=4) == {here.station_id: 2.5}  # of 1, 2, 3 and 4
        assert trends.usual_rates(conn, start, until, least=5) == {}
