"""The history of a part: what a person may know of it, and when."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from agent.service import reviews
from agent.store import inspections
from agent.store.engine import reading, writing
from dashboard.histories import HIDDEN, Look, facts, find, key_of, said
from tests.databases import NOW, Line

both = pytest.mark.usefixtures("each_database")


def _looks(here: Line, **asked: str) -> list[Look]:
    with reading(here.engine) as conn:
        return find(conn, **asked)


def _values(look: Look) -> dict[str, object]:
    return {str(row["What"]): row["Value"] for row in facts(look, UTC)}


@both
def test_a_part_has_all_its_inspections_newest_first(here: Line) -> None:
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 1)
        rows = [
            here.inspection(0, serial="S1", deployment_id=deployed, score=4.5, p_value=0.02),
            here.inspection(1, "not_inspected", serial="S1", event_at=NOW + timedelta(hours=1), reason="corrupt"),
            here.inspection(2, serial="S2"),
        ]
        inspections.add_all(conn, rows)
    newer, older = _looks(here, serial="S1")
    assert [_values(one)["Verdict"] for one in (newer, older)] == ["not inspected", "pass"]
    assert _values(newer)["Why"] == "corrupt" and _values(newer)["Decided by"] == "nothing: no model decided"
    assert (_values(older)["Score"], _values(older)["p-value"]) == ("4.5", "0.0200")
    assert _values(older)["Decided by"] == "v1, promoted because: test"
    assert _looks(here, inspection=key_of(rows[0])) == [older]
    assert _looks(here, serial="S3") == []


@both
@pytest.mark.parametrize("key", ["", "x", "1-2-3", "1-2-3@x", "1-0-0@2026-03-02T10:00:00", "1-0@2026-03-02T10:00:00Z"])
def test_a_key_that_is_none_finds_nothing(here: Line, key: str) -> None:
    assert _looks(here, inspection=key) == []


@both
@pytest.mark.parametrize("kind", ["audit", "flagged"])
def test_what_waits_for_a_review_tells_neither_its_score_nor_whether_it_was_drawn(here: Line, kind: str) -> None:
    verdict = "pass" if kind == "audit" else "review"
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, kind=kind, verdict=verdict, serial="S1")
        inspections.add_all(
            conn, [here.inspection(0, verdict, serial="S1", score=9.0, p_value=0.01, event_at=item.event_at)]
        )
    (look,) = _looks(here, serial="S1")
    told = _values(look)
    assert look.hidden and (told["Verdict"], told["Score"], told["p-value"]) == (HIDDEN, HIDDEN, HIDDEN)
    reviews.decide(here.engine, here.operator, item.id, "defect", "dent", key="k", now=NOW)
    (look,) = _looks(here, serial="S1")
    assert not look.hidden and _values(look)["Verdict"] == verdict and _values(look)["Score"] == "9"
    assert look.item and [(row["Who"], row["Reason"]) for row in said(look.item.reviews, UTC)] == [("operator", "dent")]
    assert [(one.role, one.reason) for one in look.samples] == [("defect", "dent")]
    reviews.undo(here.engine, here.operator, item.id, key="u", now=NOW)
    (look,) = _looks(here, serial="S1")
    assert look.hidden and look.samples == ()


@both
@pytest.mark.parametrize("state", ["open", "escalated"])
def test_a_view_that_waits_hides_the_part_s_other_views(here: Line, state: str) -> None:
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, kind="flagged", serial="S1")
        rows = [
            here.inspection(0, "review", serial="S1", score=9.0, event_at=item.event_at),
            here.inspection(1, serial="S1", score=1.0),
        ]
        inspections.add_all(conn, rows)
    if state == "escalated":
        reviews.decide(here.engine, here.operator, item.id, "unsure", key="u", now=NOW)
    asked: list[dict[str, str]] = [{"serial": "S1"}, *({"inspection": key_of(one)} for one in rows)]
    for one in asked:
        assert {(look.hidden, _values(look)["Score"]) for look in _looks(here, **one)} == {(True, HIDDEN)}
