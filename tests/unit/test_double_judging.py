"""A share of parts is judged by two people: who is asked, what closes an item, and how often they agree."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agent.service import PermissionDenied, claims, reviews
from agent.service.reviews import Outcome
from agent.store import closings, samples, users
from agent.store import reviews as said
from agent.store.engine import Conflict, downgrade, reading, upgrade, writing
from agent.store.scopes import Scope
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")
HOUR = timedelta(hours=1)


@pytest.fixture
def other(here: Line) -> users.User:
    with writing(here.engine) as conn:
        return users.add(conn, "other", "operator", NOW)


def _item(here: Line, offset: int = 0, serial: str | None = None) -> int:
    with writing(here.engine) as conn:
        return here.add_item(conn, offset, serial=serial).id


def _decide(
    here: Line, by: users.User, item_id: int, decision: str, reason: str | None = None, double: float = 1.0
) -> Outcome:
    key = f"{by.name}-{item_id}-{decision}"
    return reviews.decide(here.engine, by, item_id, decision, reason, double=double, key=key, now=NOW)


def _agreement(here: Line) -> tuple[int, int]:
    with reading(here.engine) as conn:
        found = said.agreement(conn, NOW - HOUR, NOW + HOUR, Scope(here.product_id, here.station_id))
        assert said.agreement(conn, NOW - HOUR, NOW + HOUR, Scope(lot="another")).pairs == 0
        assert said.agreement(conn, NOW + HOUR, NOW + 2 * HOUR).rate is None
    return found.pairs, found.agreed


def _counts(here: Line) -> dict[tuple[str, str], int]:
    with reading(here.engine) as conn:
        counted = closings.counts(conn, NOW - 24 * HOUR, NOW + 24 * HOUR)
    return {(decision, reason): n for (_, decision, reason), n in counted.items()}


def test_only_the_second_persons_agreement_closes_an_item(here: Line, other: users.User) -> None:
    item_id = _item(here)
    first = _decide(here, here.operator, item_id, "defect", "dent")
    assert (first.state, first.decision, first.sample_id) == ("open", None, None)
    assert _counts(here) == {}
    with pytest.raises(Conflict, match="a second person"):
        reviews.decide(here.engine, here.operator, item_id, "normal", key="again", now=NOW)
    assert claims.take(here.engine, here.operator, now=NOW) == []
    assert [one.id for one in claims.take(here.engine, other, now=NOW)] == [item_id]
    second = _decide(here, other, item_id, "defect", "scratch")
    assert (second.state, second.decision, second.role) == ("closed", "defect", "defect")
    assert _counts(here) == {("defect", "scratch"): 1}
    with reading(here.engine) as conn:
        assert [one.reason for one in samples.all(conn, here.product_id, state=None)] == ["scratch"]
    assert _agreement(here) == (1, 1)


@pytest.mark.parametrize("second", ["defect", "unsure"])
def test_what_the_second_person_sees_otherwise_goes_to_an_engineer(here: Line, other: users.User, second: str) -> None:
    item_id = _item(here)
    _decide(here, here.operator, item_id, "normal")
    assert _decide(here, other, item_id, second, "crack" if second == "defect" else None).state == "escalated"
    assert _counts(here) == {}
    with pytest.raises(PermissionDenied, match="an engineer decides"):
        _decide(here, here.operator, item_id, "defect", "crack")
    assert _decide(here, here.engineer, item_id, "normal").state == "closed"
    assert _counts(here) == {("normal", ""): 1}
    assert _agreement(here) == (1, 0)
    assert reviews.undo(here.engine, here.engineer, item_id, key="u", now=NOW).state == "escalated"
    assert _agreement(here) == (1, 0), "the two still said what they said"


def test_undo_goes_back_one_person_at_a_time(here: Line, other: users.User) -> None:
    item_id = _item(here)
    _decide(here, here.operator, item_id, "normal")
    _decide(here, other, item_id, "normal")
    assert reviews.undo(here.engine, other, item_id, key="1", now=NOW).state == "open"
    assert here.item(item_id).judged_by == here.operator.id
    assert _agreement(here) == (0, 0) and _counts(here) == {}
    claims.give_back(here.engine, other)
    assert reviews.undo(here.engine, here.operator, item_id, key="2", now=NOW).state == "open"
    assert here.item(item_id).judged_by is None
    assert [one.id for one in claims.take(here.engine, here.operator, now=NOW)] == [item_id]


def test_undo_of_ones_own_leaves_another_persons_review(here: Line) -> None:
    item_id = _item(here)
    _decide(here, here.operator, item_id, "normal", double=0.0)
    with pytest.raises(PermissionDenied, match="operator's"):
        reviews.undo(here.engine, here.engineer, item_id, own=True, key="1", now=NOW)
    assert here.item(item_id).state == "closed"


def test_the_draw_takes_its_share_by_part_and_an_unsure_first_one_escalates(here: Line) -> None:
    ids = [_item(here, n, serial=f"s{n // 2}") for n in range(80)]
    states = [_decide(here, here.operator, one, "normal", double=0.5).state for one in ids]
    assert states[::2] == states[1::2], "all frames of a part, or none"
    assert 8 <= states[::2].count("open") <= 32  # of 40, at one half: 2e-4 outside
    doubted = _item(here, 99)
    assert _decide(here, here.operator, doubted, "unsure").state == "escalated"
    assert _decide(here, here.engineer, doubted, "normal").state == "closed"
    assert _agreement(here) == (0, 0), "the engineer knew what was said"


def test_what_pairs_of_people_said_before_it_was_kept_is_read_from_their_reviews(here: Line, other: users.User) -> None:
    ids = [_item(here, n) for n in range(5)]
    for one in ids[:4]:
        _decide(here, here.operator, one, "normal")
    for one, second in zip(ids, ("normal", "unsure", "normal"), strict=False):
        _decide(here, other, one, second)
    reviews.undo(here.engine, other, ids[2], key="undo", now=NOW)
    _decide(here, other, ids[4], "normal", double=0.0)
    assert _agreement(here) == (2, 1)
    downgrade(here.engine, "0029")
    upgrade(here.engine)
    assert _agreement(here) == (2, 1)


def test_ones_last_reviews_are_those_that_nothing_came_after(here: Line, other: users.User) -> None:
    ids = [_item(here, n) for n in range(4)]
    for one in ids[:3]:
        _decide(here, here.operator, one, "normal", double=1.0 if one == ids[1] else 0.0)
    _decide(here, other, ids[1], "normal")
    _decide(here, other, ids[3], "normal", double=0.0)
    reviews.undo(here.engine, here.operator, ids[0], key="u", now=NOW)
    with reading(here.engine) as conn:
        for user, left in ((here.operator, [ids[2]]), (other, [ids[3], ids[1]])):
            (act,) = said.past(conn, user.id, NOW, 9).acts  # all at one moment
            assert [one.item_id for one in act] == left
        assert said.past(conn, other.id, NOW + HOUR, 9) == said.Past([], None)
