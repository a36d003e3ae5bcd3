"""Claims: whose the next items are, that two people never hold one, and what finding them costs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from agent.service import PermissionDenied, claims, reviews
from agent.store import claims as stored
from agent.store import items, stations, users
from agent.store.engine import Conflict, reading, writing
from tests.databases import NOW, Line, add_blob
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")
LATER = NOW + claims.SPAN


def _fill(here: Line, count: int, **changes: Any) -> list[int]:
    with writing(here.engine) as conn:
        return [here.add_item(conn, n, **changes).id for n in range(count)]


def _take(here: Line, user: users.User, now: datetime = NOW, **given: Any) -> list[int]:
    return [one.id for one in claims.take(here.engine, user, **{"limit": 3, **given}, now=now)]


def test_two_people_get_different_items_oldest_first_and_watched_ones_ahead(here: Line) -> None:
    ids = _fill(here, 7)
    with writing(here.engine) as conn:
        add_blob(conn, 9)
        items.add_all(conn, [here.new_item(9, watched=True)])
        watched = items.queue(conn)[0].id
    assert _take(here, here.operator) == [watched, *ids[:2]]
    assert _take(here, here.engineer) == ids[2:5]
    assert _take(here, here.admin) == ids[5:]
    with pytest.raises(Conflict, match="engineer is looking"):
        reviews.decide(here.engine, here.operator, ids[2], "normal", key="k", now=NOW)
    with pytest.raises(PermissionDenied):
        _take(here, here.viewer)


def test_a_verdict_makes_room_for_the_next_one_and_undo_brings_its_own_back(here: Line) -> None:
    ids = _fill(here, 5)
    assert _take(here, here.operator) == ids[:3]
    reviews.decide(here.engine, here.operator, ids[0], "normal", key="a", now=NOW)
    assert _take(here, here.operator) == ids[1:4]
    reviews.undo(here.engine, here.operator, ids[0], key="b", now=NOW)
    assert _take(here, here.engineer) == ids[4:]
    assert _take(here, here.operator) == ids[:4]


def test_until_a_page_has_said_what_came_back_to_it_nothing_is_given_back(here: Line) -> None:
    """As after a reload: the filter alone would let go what an undo brought back from elsewhere."""
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        elsewhere = here.add_item(conn, 0, station_id=other).id
        near = here.add_item(conn, 1).id
    reviews.decide(here.engine, here.operator, elsewhere, "normal", key="a", now=NOW)
    reviews.undo(here.engine, here.operator, elsewhere, key="b", now=NOW)
    here_alone: dict[str, Any] = {"station_id": here.station_id}
    assert _take(here, here.operator, **here_alone, known=False) == [near]
    assert _take(here, here.engineer) == []
    assert _take(here, here.operator, **here_alone, back=[elsewhere]) == [elsewhere, near]
    assert _take(here, here.operator, **here_alone) == [near]
    assert _take(here, here.engineer) == [elsewhere]


def test_claims_end_unless_they_are_renewed(here: Line) -> None:
    ids = _fill(here, 3)
    _take(here, here.operator)
    assert _take(here, here.engineer) == []
    assert _take(here, here.operator, LATER - timedelta(seconds=1)) == ids
    assert _take(here, here.engineer, LATER + timedelta(seconds=1)) == []
    assert _take(here, here.engineer, LATER + claims.SPAN) == ids
    assert _take(here, here.operator, LATER + claims.SPAN) == []
    claims.give_back(here.engine, here.engineer)
    assert _take(here, here.operator, LATER + claims.SPAN) == ids


def test_a_claim_of_a_clock_that_was_ahead_keeps_nobody_from_the_item(here: Line) -> None:
    (item,) = _fill(here, 1)
    assert _take(here, here.operator, NOW + timedelta(hours=8)) == [item]
    assert _take(here, here.engineer) == [item]
    reviews.decide(here.engine, here.engineer, item, "normal", key="k", now=NOW)


def test_nothing_is_written_while_half_of_the_time_is_left(here: Line) -> None:
    _fill(here, 3)
    _take(here, here.operator)
    for now, ends in ((NOW + claims.SPAN / 3, LATER), (NOW + claims.SPAN / 2, LATER + claims.SPAN / 2)):
        _take(here, here.operator, now)
        with reading(here.engine) as conn:
            assert set(stored.held(conn, stored.Desk(here.operator.id)).values()) == {ends}


def test_a_filter_gives_back_what_lies_outside_of_it(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        ids = [here.add_item(conn, n, station_id=other if n % 2 else here.station_id).id for n in range(6)]
    assert _take(here, here.operator) == ids[:3]
    assert _take(here, here.operator, station_id=other) == ids[1::2]
    assert _take(here, here.engineer) == ids[::2]


def test_only_engineers_are_handed_escalated_items_and_nobody_what_teaches(here: Line) -> None:
    ids = _fill(here, 2)
    with writing(here.engine) as conn:
        here.add_item(conn, 8, kind="teach")
    reviews.decide(here.engine, here.operator, ids[0], "unsure", key="a", now=NOW)
    assert _take(here, here.operator) == [ids[1]]
    claims.give_back(here.engine, here.operator)
    assert _take(here, here.engineer) == [ids[0], ids[1]]


def test_what_is_escalated_comes_to_an_engineer_next_however_many_are_open(here: Line) -> None:
    """An audit item shows on no other page: behind the open ones nobody would ever reach it on a line that flags on."""
    with writing(here.engine) as conn:
        audited = here.add_item(conn, 0, kind="audit", verdict="pass").id
        ids = [here.add_item(conn, n).id for n in range(1, 13)]
    assert _take(here, here.engineer, limit=10) == [audited, *ids[:9]]
    claims.give_back(here.engine, here.engineer)
    reviews.decide(here.engine, here.operator, audited, "unsure", key="a", now=NOW)
    assert _take(here, here.engineer, limit=10) == [audited, *ids[:9]]
    reviews.decide(here.engine, here.engineer, audited, "normal", key="b", now=NOW)
    assert _take(here, here.engineer, limit=10) == ids[:10], "the desk is full"
    reviews.decide(here.engine, here.operator, ids[11], "unsure", key="c", now=NOW)
    reviews.decide(here.engine, here.engineer, ids[0], "normal", key="d", now=NOW)
    assert _take(here, here.engineer, limit=10) == [ids[11], *ids[1:10]], "it takes the first place that is free"


def test_many_at_once_never_hold_one_item_together(here: Line) -> None:
    _fill(here, 12)
    with writing(here.engine) as conn:
        people = [users.add(conn, f"o{n}", "operator", NOW) for n in range(4)]
    start = threading.Barrier(4)

    def take(person: users.User) -> list[int]:
        start.wait(30)
        return _take(here, person)

    with ThreadPoolExecutor(4) as pool:
        got = [one for found in pool.map(take, people) for one in found]
    assert sorted(got) == sorted(set(got)) and len(got) == 12


@pytest.mark.parametrize("given", [{}, {"station_id": 1}, {"product_id": 1}])
def test_the_next_items_are_found_by_an_index_in_their_order(here: Line, given: dict[str, Any]) -> None:
    """Among 200,000 open items, whatever a desk looks at: no scan, no sort."""

    def take(conn: sa.Connection) -> None:
        stored.take(conn, stored.Desk(1, **given), limit=9, until=LATER, now=NOW)

    plans = plans_of(here.engine, take, "SELECT item.id")
    wanted = f"ix_item_{''.join(f'{name}_' for name in given)}state_watched_id"
    if here.engine.dialect.name == "postgresql":
        wanted = "ix_item_"  # it knows how few rows there are: any that has the order will do
    assert len(plans) == 2 and all(wanted in plan for plan in plans), plans
    assert not any("ORDER BY" in plan or "Sort" in plan for plan in plans), plans
    _fill(here, 1)
    take_again = plans_of(here.engine, take, "SELECT item.id") and plans_of(here.engine, take, "SELECT item.id")
    if here.engine.dialect.name == "sqlite":
        assert "INTEGER PRIMARY KEY" in take_again[0], "what one holds is looked up by id, not among all that is open"


def test_many_that_came_back_are_not_all_kept_from_others(here: Line) -> None:
    with writing(here.engine) as conn:
        ids = [here.add_item(conn, number).id for number in range(6)]
        for one in ids:
            stored.hold(conn, one, here.operator.id, NOW + timedelta(minutes=2), NOW)
        desk = stored.Desk(here.operator.id)
        stored.take(conn, desk, limit=2, until=NOW + timedelta(minutes=3), now=NOW)
        assert sorted(stored.held(conn, desk)) == ids[:3]


def test_what_is_on_screen_and_what_came_back_is_kept_before_all_others(here: Line) -> None:
    ids = _fill(here, 6)
    with writing(here.engine) as conn:
        add_blob(conn, 9)
        items.add_all(conn, [here.new_item(9, watched=True)])
        watched = items.queue(conn)[0].id
        for one in (*ids, watched):
            stored.hold(conn, one, here.operator.id, LATER, NOW)
    later = NOW + claims.SPAN
    assert _take(here, here.operator, later, limit=1, shown=ids[5], back=(ids[4], ids[3])) == [watched, *ids[3:]]
    assert _take(here, here.operator, later + claims.SPAN, limit=1, shown=ids[3]) == [watched, ids[3]]
    assert _take(here, here.engineer, later, limit=9) == [*ids[:3], *ids[4:]]


def test_an_undone_item_is_held_whatever_the_filter_until_it_is_passed_over_or_judged(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        first, second = (here.add_item(conn, n, station_id=other).id for n in range(2))
        ids = [here.add_item(conn, n, station_id=here.station_id).id for n in range(2, 6)]
    given: dict[str, Any] = {"station_id": here.station_id, "shown": first, "back": (second, first)}
    for one in (first, second):
        reviews.decide(here.engine, here.operator, one, "normal", key=f"{one}", now=NOW)
    assert _take(here, here.operator, **given) == ids[:3], "what is judged is not held"
    for one in (first, second):
        reviews.undo(here.engine, here.operator, one, own=True, key=f"{one}-back", now=NOW)
    assert _take(here, here.operator, **given) == [first, second, *ids[:3]]
    assert _take(here, here.operator, LATER, **given) == [first, second, *ids[:3]], "renewed with the others"
    assert _take(here, here.engineer, LATER) == ids[3:]
    given["back"] = (second,)
    assert _take(here, here.operator, LATER + claims.SPAN, **given) == [second, *ids[:3]]
    assert _take(here, here.engineer, LATER + claims.SPAN) == [first, ids[3]]


def test_nobody_gets_what_others_hold_by_naming_it(here: Line) -> None:
    ids = _fill(here, 4)
    assert _take(here, here.engineer) == ids[:3]
    assert _take(here, here.operator, shown=ids[0], back=ids[:2]) == ids[3:]
