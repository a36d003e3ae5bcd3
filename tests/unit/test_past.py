"""What one may take back of one's verdicts: all of this shift, a page at a time, by an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agent.service import bulk, reviews
from agent.store import reviews as said
from agent.store.engine import reading, writing
from agent.store.reviews import Past
from agent.store.tables import item
from tests.databases import NOW, Line
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def _items(here: Line, count: int, start: int = 0, **changes: Any) -> list[int]:
    with writing(here.engine) as conn:
        return [here.add_item(conn, start + n, **changes).id for n in range(count)]


def _judge(here: Line, item_ids: Sequence[int]) -> None:
    """One by one, as at the desk: no two at the same moment."""
    for n, one in enumerate(item_ids, 1):
        reviews.decide(here.engine, here.operator, one, "normal", key=f"one-{one}", now=NOW + n * SECOND)


def _pages(here: Line, limit: int) -> list[list[list[int]]]:
    """The items of the operator's acts since NOW, by page."""
    found, page = list[list[list[int]]](), Past([], None)
    with reading(here.engine) as conn:
        while not found or page.before is not None:
            page = said.past(conn, here.operator.id, NOW, limit, page.before)
            found.append([[one.item_id for one in act] for act in page.acts])
    return found


def test_a_bulk_action_puts_no_single_verdict_out_of_reach(here: Line) -> None:
    early, single, *many = _items(here, 12)
    reviews.decide(here.engine, here.operator, early, "normal", key="early", now=NOW - MINUTE)
    reviews.decide(here.engine, here.operator, single, "defect", "dent", key="single", now=NOW)
    bulk.decide(here.engine, here.operator, many, "normal", key="many", now=NOW + MINUTE)
    at_once = many[::-1]
    assert _pages(here, 1) == [[at_once], [[single]]], "none of the shift before"
    assert _pages(here, 2) == [[at_once, [single]]], "nothing older is promised where there is none"
    assert reviews.undo(here.engine, here.operator, single, own=True, key="back", now=NOW + MINUTE).state == "open"
    assert _pages(here, 20) == [[at_once]]


def test_of_a_bulk_action_only_what_can_still_be_taken_back_is_offered(here: Line) -> None:
    again, undone, gone, *left = _items(here, 5)
    bulk.decide(here.engine, here.operator, [again, undone, gone, *left], "defect", "dent", key="many", now=NOW)
    for one in (again, undone):
        reviews.undo(here.engine, here.operator, one, own=True, key=f"back-{one}", now=NOW)
    reviews.decide(here.engine, here.operator, again, "defect", "dent", key="again", now=NOW + SECOND)
    with writing(here.engine) as conn:
        conn.execute(item.update().where(item.c.id == gone).values(released_at=NOW))
    assert _pages(here, 9) == [[[again], left[::-1]]]


def test_single_verdicts_are_one_entry_each(here: Line) -> None:
    ids = _items(here, 5)
    _judge(here, ids)
    assert _pages(here, 2) == [[[ids[4]], [ids[3]]], [[ids[2]], [ids[1]]], [[ids[0]]]]


def test_what_was_taken_back_does_not_fill_pages(here: Line) -> None:
    single, *many = _items(here, 14)
    reviews.decide(here.engine, here.operator, single, "normal", key="single", now=NOW)
    made = bulk.decide(here.engine, here.operator, many, "normal", key="many", now=NOW)
    bulk.undo(here.engine, here.operator, made.reviews, key="back", now=NOW)
    assert _pages(here, 2) == [[[single]]]


def test_a_page_looks_at_so_many_and_goes_on(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(said, "LOOKED_AT", 8)
    single, *many = _items(here, 14)
    reviews.decide(here.engine, here.operator, single, "normal", key="single", now=NOW)
    made = bulk.decide(here.engine, here.operator, many, "normal", key="many", now=NOW)
    bulk.undo(here.engine, here.operator, made.reviews, key="back", now=NOW)
    assert _pages(here, 2) == [[], [], [[single]]]


def test_parts_to_teach_from_and_those_without_evidence_are_not_among_them(here: Line) -> None:
    (taught,), (gone, kept) = _items(here, 1, kind="teach"), _items(here, 2, 1)
    with writing(here.engine) as conn:
        for one in (kept, gone, taught):
            said.add(conn, one, here.operator.id, "normal", state="closed", now=NOW)
        conn.execute(item.update().where(item.c.id == gone).values(released_at=NOW))
    assert _pages(here, 1) == [[[kept]]]


def test_a_page_is_found_by_an_index_in_its_order(here: Line) -> None:
    """Among all that a person ever said: no scan, no sort."""
    for before in (None, 7):
        (first, *_) = plans_of(here.engine, partial(said.past, user_id=1, since=NOW, limit=20, before=before))
        assert "ix_review_user_id_id" in first, first
        assert "ORDER BY" not in first and "Sort" not in first and "SCAN" not in first, first
