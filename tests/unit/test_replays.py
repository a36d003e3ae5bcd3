"""Decisions made again are kept, the newest of each, and shown of a part that nobody has to judge any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.hot_window import Pruner
from agent.pipeline.work import Outcome
from agent.replay import keeping
from agent.replay.comparing import Agreement, Replayed
from agent.service import reviews
from agent.settings import Retention
from agent.store import inspections, replays
from agent.store.engine import reading, writing
from agent.store.inspections import Inspection
from agent.store.replays import Replay
from dashboard.histories import find, replayed
from tests.databases import NOW, Line
from tests.plans import plans_of

pytestmark = pytest.mark.usefixtures("each_database")


def _again(one: Inspection, agreement: Agreement, score: float = 2.0, **given: str) -> Replayed:
    now = Outcome(one.verdict, NOW, score=score, deployment_id=one.deployment_id)
    return Replayed(one, agreement, "log", now, 0.001, engine="torch cpu fp32", **given)


def _run(here: Line, *found: Replayed, at: datetime, live: bool = False) -> None:
    passed = keeping.keeping(here.engine, found, live=live, by=here.engineer.id, clock=lambda: at)
    assert list(passed) == list(found)


def test_the_replays_of_records_are_found_by_the_key(here: Line) -> None:
    (plan,) = plans_of(here.engine, lambda conn: replays.of_records(conn, [(NOW, 1, 0, n) for n in range(3)]))
    assert "SCAN replay" not in plan and "Seq Scan on replay" not in plan, plan


def _kept(here: Line, one: Inspection) -> list[Replay]:
    with reading(here.engine) as conn:
        record = (one.event_at, one.stream_id, one.partition, one.offset)
        return list(replays.of_records(conn, [record]).get(record, ()))


def test_the_newest_result_of_each_question_is_kept(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MANY", 2)
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 1)
    rows = [here.inspection(n, score=2.0, deployment_id=deployed) for n in range(5)]
    _run(here, *(_again(one, Agreement.DIFFERENT, 9.0) for one in reversed(rows)), at=NOW)
    later = NOW + timedelta(hours=1)
    _run(here, _again(rows[0], Agreement.IDENTICAL), at=later)
    gone = Replayed(rows[0], Agreement.GONE)
    _run(here, gone, _again(rows[0], Agreement.NOT_COMPARABLE), at=later + timedelta(hours=1))
    _run(here, _again(rows[0], Agreement.SAME_VERDICT), at=NOW + timedelta(minutes=1), live=True)
    first, second = _kept(here, rows[0])
    assert (first.at, first.agreement, first.live, first.score) == (later, "identical", False, 2.0)
    assert (second.agreement, second.live) == ("same_verdict", True)
    assert (first.user, first.number, first.engine) == ("engineer", 1, "torch cpu fp32")
    assert [[one.score for one in _kept(here, row)] for row in rows[1:]] == [[9.0]] * 4


def test_results_go_with_their_inspections(here: Line) -> None:
    rows = [here.inspection(n, event_at=NOW - timedelta(days=days)) for n, days in enumerate((1, 3))]
    _run(here, *(_again(one, Agreement.IDENTICAL) for one in rows), at=NOW)
    Pruner(here.engine, Retention(inspections_days=2))(NOW)
    assert [len(_kept(here, one)) for one in rows] == [1, 0]


def test_a_part_shows_them_once_no_view_of_it_waits(here: Line) -> None:
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 50)
        item = here.add_item(conn, 0, serial="S1", deployment_id=deployed)
        row = here.inspection(0, "review", serial="S1", event_at=NOW, deployment_id=deployed, score=2.5)
        inspections.add_all(conn, [row])
    _run(here, _again(row, Agreement.WITHIN_TOLERANCE, 2.5001), at=NOW)
    with reading(here.engine) as conn:
        (look,) = find(conn, serial="S1")
    assert look.hidden and replayed(look, UTC) == []
    reviews.decide(here.engine, here.operator, item.id, "normal", key="k", now=NOW)
    with reading(here.engine) as conn:
        (look,) = find(conn, serial="S1")
    assert replayed(look, UTC) == [
        {
            "When": "2026-03-02 10:07:30.000", "Who": "engineer", "Result": "within tolerance",
            "Made by": "v1, which had decided", "Verdict": "review", "Score": "2.5001", "Engine": "torch cpu fp32",
        }
    ]  # fmt: skip
