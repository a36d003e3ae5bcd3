"""Items by what is known of them: filters, pages, and what a search must not tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from agent.service import reviews
from agent.store import products, stations
from agent.store.engine import reading, writing
from agent.store.item_search import Wanted, count, search
from tests.databases import NOW, Line
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")


def _add(here: Line, number: int, **more: Any) -> int:
    with writing(here.engine) as conn:
        return here.add_item(conn, number, event_at=NOW + timedelta(minutes=number), **{"kind": "flagged", **more}).id


def _decide(here: Line, item_id: int, decision: str, reason: str | None = None) -> None:
    by = here.engineer if decision == "normal" else here.operator
    reviews.decide(here.engine, by, item_id, decision, reason, key=f"k{item_id}", now=NOW)


def _found(here: Line, **wanted: Any) -> list[int]:
    with reading(here.engine) as conn:
        asked = Wanted(**wanted)
        found = [one.id for one in search(conn, asked, 50)]
        assert count(conn, asked) == len(found)
        return found


def test_the_newest_part_comes_first_and_pages_go_on_where_they_ended(here: Line) -> None:
    ids = [_add(here, number) for number in (2, 0, 1, 3)]
    assert _found(here) == [ids[3], ids[0], ids[2], ids[1]]
    with reading(here.engine) as conn:
        first = search(conn, Wanted(), 2)
        rest = search(conn, Wanted(), 50, before=(first[-1].event_at, first[-1].id))
        assert [one.id for one in first + rest] == [ids[3], ids[0], ids[2], ids[1]]
        assert count(conn, Wanted(), most=3) == 3


def test_each_filter_keeps_its_own(here: Line) -> None:
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 99)
    dent = _add(here, 0, lot="A", severity=2.0, verdict="review", deployment_id=deployed)
    normal = _add(here, 1, lot="B", severity=0.5, verdict="reject")
    waits = _add(here, 2, lot="A", severity=3.0)
    again = _add(here, 3, lot="C", severity=0.1)
    _decide(here, again, "defect", "dent")
    reviews.undo(here.engine, here.operator, again, hold=False, key="undo", now=NOW)
    reviews.decide(here.engine, here.engineer, again, "defect", "crack", key="again", now=NOW)
    _decide(here, dent, "defect", "dent")
    _decide(here, normal, "normal")
    expected: list[tuple[dict[str, Any], list[int]]] = [
        ({"lot": "A"}, [waits, dent]),
        ({"state": "open"}, [waits]),
        ({"decision": "normal"}, [normal]),
        ({"reason": "dent"}, [dent]),
        ({"reason": "crack"}, [again]),
        ({"verdict": "reject"}, [normal]),
        ({"verdict": "flagged"}, [again, waits, normal, dent]),
        ({"verdict": "flagged", "least": 1.0}, [dent]),
        ({"least": 1.0}, [dent]),  # the one that waits tells no score
        ({"most": 1.0}, [again, normal]),
        ({"version_id": 1}, [dent]),
        ({"reviewer_id": here.operator.id}, [dent]),
        ({"since": NOW + timedelta(minutes=1), "until": NOW + timedelta(minutes=2)}, [normal]),
        ({"product_id": here.product_id + 1}, []),
        ({"station_id": here.station_id, "lot": "B"}, [normal]),
    ]
    for wanted, ids in expected:
        assert _found(here, **wanted) == ids, wanted


@pytest.mark.parametrize("wanted", [{}, {"state": "open"}, {"lot": "A"}, {"verdict": "pass"}, {"least": -9.0}])
def test_an_audit_item_that_waits_is_in_no_search(here: Line, wanted: dict[str, Any]) -> None:
    drawn = _add(here, 0, kind="audit", verdict="pass", severity=-1.0, lot="A")
    taught = _add(here, 1, kind="teach", lot="A")
    assert _found(here, **wanted) == []
    reviews.decide(here.engine, here.operator, drawn, "unsure", key="u", now=NOW)
    assert _found(here, **wanted) == [] and taught
    _decide(here, drawn, "normal")
    assert _found(here, **{"state": None, **wanted} | {"state": None}) == [drawn]


def test_what_is_flagged_and_waits_is_found_by_why_it_is_kept_and_tells_no_verdict(here: Line) -> None:
    """That a second model alone flagged a part is its verdict: it is told once the part is judged."""
    second = _add(here, 0, verdict="pass")
    drawn, passed = _add(here, 1, kind="audit", verdict="reject"), _add(here, 2, kind="audit", verdict="pass")
    failed = _add(here, 3, kind="failed", verdict="not_inspected", reason="undecodable")
    assert _found(here, verdict="flagged") == [second]
    for one in (second, drawn, passed, failed):
        _decide(here, one, "normal")
    assert _found(here, verdict="flagged") == [drawn]


@pytest.mark.parametrize("kind", ["audit", "flagged"])
@pytest.mark.parametrize(
    "wanted", [{}, {"state": "closed"}, {"verdict": "pass"}, {"least": -9.0}, {"decision": "normal"}]
)
def test_a_closed_view_is_in_no_search_while_another_of_its_part_waits(
    here: Line, kind: str, wanted: dict[str, Any]
) -> None:
    with writing(here.engine) as conn:
        other, bracket = stations.add(conn, "press-2", now=NOW).id, products.add(conn, "bracket", now=NOW).id
    one = {"kind": kind, "verdict": "pass", "serial": "S1"}
    first, second = _add(here, 0, **one), _add(here, 1, **one, station_id=other)
    others: tuple[dict[str, Any], ...] = ({"serial": "S2"}, {"product_id": bracket}, {"kind": "teach"})
    for number, of_another in enumerate(others, 2):
        _add(here, number, **one | {"kind": "audit"} | of_another)
    _decide(here, first, "normal")
    assert first not in _found(here, **wanted)
    reviews.decide(here.engine, here.operator, second, "unsure", key="u", now=NOW)
    assert first not in _found(here, **wanted), "an engineer has yet to judge the other view"
    _decide(here, second, "normal")
    assert _found(here, **wanted) == [second, first]


def test_whether_a_part_waits_is_asked_of_what_waits_alone(here: Line) -> None:
    def work(conn: Connection) -> None:
        search(conn, Wanted(verdict="pass"), 10)
        count(conn, Wanted(product_id=here.product_id))

    found = plans_of(here.engine, work)
    if here.engine.dialect.name == "sqlite":  # PostgreSQL knows how few rows there are, and may read them all
        assert len([plan for plan in found if "ix_item_waiting" in plan]) == 2, found


def test_the_newest_of_a_product_station_or_state_are_found_without_sorting_all(here: Line) -> None:
    asked = {
        "ix_item_event_at": Wanted(),
        "ix_item_product_id_event_at_id": Wanted(product_id=here.product_id),
        "ix_item_station_id_event_at_id": Wanted(station_id=here.station_id),
        "ix_item_state_event_at_id": Wanted(state="open"),
    }

    def work(conn: Connection) -> None:
        for one in asked.values():
            search(conn, one, 10)

    found = [plan for plan in plans_of(here.engine, work) if "event_at" in plan]
    assert len(found) == len(asked)
    for index, plan in zip(asked, found, strict=True):
        assert index in plan, plan
