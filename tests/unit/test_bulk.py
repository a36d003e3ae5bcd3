"""One decision on many items: each is decided once, audit items never, and all of it can be taken back."""

from __future__ import annotations

import pytest

from agent.service import Invalid, bulk, reviews
from agent.store import claims
from agent.store import reviews as said
from agent.store.engine import reading, writing
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")


def _items(here: Line, *kinds: str) -> list[int]:
    with writing(here.engine) as conn:
        return [here.add_item(conn, number, kind=kind).id for number, kind in enumerate(kinds)]


def _count(here: Line, item_id: int) -> int:
    with reading(here.engine) as conn:
        return len(said.of_item(conn, item_id))


def test_audit_items_and_those_of_others_are_left_out_and_named(here: Line) -> None:
    ids = _items(here, "flagged", "audit", "flagged", "flagged")
    with writing(here.engine) as conn:
        assert claims.hold(conn, ids[2], here.engineer.id, NOW + claims.LONGEST, NOW)
    told = list[int]()
    found = bulk.decide(here.engine, here.operator, [*ids, 999], "defect", "dent", key="k", now=NOW, told=told.append)
    assert found.done == (ids[0], ids[3])
    assert [one for one, _ in found.refused] == [ids[1], ids[2], 999]
    assert told == [1, 2, 3, 4, 5]
    assert "judged by itself" in found.refused[0][1]
    assert [here.item(one).decision for one in ids] == ["defect", None, None, "defect"]


def test_a_retry_goes_on_where_the_first_try_ended(here: Line) -> None:
    ids = _items(here, "flagged", "flagged")
    reviews.decide(here.engine, here.operator, ids[0], "defect", "dent", key=f"k:{ids[0]}", now=NOW)
    for _ in range(2):
        found = bulk.decide(here.engine, here.operator, ids, "defect", "dent", key="k", now=NOW)
        assert (found.done, found.refused) == (tuple(ids), ())
    assert [_count(here, one) for one in ids] == [1, 1]


def test_what_was_decided_at_once_is_taken_back_at_once(here: Line) -> None:
    ids = _items(here, "flagged", "flagged", "flagged")
    made = bulk.decide(here.engine, here.operator, ids[:2], "normal", key="k", now=NOW).reviews
    found = bulk.undo(here.engine, here.operator, {**made, ids[2]: 0}, key="u", now=NOW)
    assert found.done == tuple(ids[:2])
    assert "no review to take back" in found.refused[0][1]
    assert [here.item(one).state for one in ids] == ["open"] * 3


def test_another_person_s_decision_is_not_taken_back_and_nothing_is_claimed(here: Line) -> None:
    ids = _items(here, "flagged", "flagged")
    made = bulk.decide(here.engine, here.engineer, ids, "normal", key="k", now=NOW).reviews
    reviews.undo(here.engine, here.engineer, ids[0], key="x", now=NOW)
    with writing(here.engine) as conn:
        claims.give_back(conn, here.engineer.id)
    reviews.decide(here.engine, here.operator, ids[0], "defect", "dent", key="y", now=NOW)
    found = bulk.undo(here.engine, here.engineer, made, key="u", now=NOW)
    assert (found.done, [one for one, _ in found.refused]) == ((ids[1],), [ids[0]])
    with reading(here.engine) as conn:
        assert claims.held(conn, claims.Desk(here.engineer.id)) == {}


def test_one_s_own_later_verdict_stays_and_is_named(here: Line) -> None:
    ids = _items(here, "flagged", "flagged")
    made = bulk.decide(here.engine, here.operator, ids, "normal", key="k", now=NOW).reviews
    reviews.undo(here.engine, here.operator, ids[0], key="x", now=NOW)
    reviews.decide(here.engine, here.operator, ids[0], "defect", "dent", key="y", now=NOW)
    for _ in range(2):  # a retry is the same
        found = bulk.undo(here.engine, here.operator, made, key="u", now=NOW)
        assert found.done == (ids[1],)
        assert found.refused == ((ids[0], f"item {ids[0]} was judged again since, as defect by operator: that stays"),)
    assert [here.item(one).decision for one in ids] == ["defect", None]


def test_what_no_item_can_get_is_refused_before_any(here: Line) -> None:
    ids = _items(here, "flagged")
    with pytest.raises(Invalid, match="reason code"):
        bulk.decide(here.engine, here.operator, ids, "defect", key="k", now=NOW)
    with pytest.raises(Invalid, match="at most 500 at once"):
        bulk.decide(here.engine, here.operator, ids * 501, "normal", key="k", now=NOW)
    assert here.item(ids[0]).state == "open"
