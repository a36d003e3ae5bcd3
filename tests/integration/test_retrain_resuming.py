"""Runs whose process is gone, without trainings: who takes them up, how often, and who does not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from agent.live import NoLive
from agent.retrain import resuming, run
from agent.retrain.due import Due, due
from agent.retrain.schedule import Scheduler
from agent.service import retrain as service
from agent.settings import Settings
from agent.store import commands, products, runs, samples, snapshots
from agent.store.engine import reading, writing
from agent.store.runs import TrainingRun
from agent.store.samples import NewSample
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")
SETTINGS = Settings()


def opened(here: Line, *, cold: bool = False) -> tuple[TrainingRun, int]:
    """A run of a person's request on a frozen snapshot, and the command that asked for it."""
    command_id = service.request(here.engine, here.engineer, here.product_id, cold=cold, key=f"ask-{cold}", now=NOW)
    with writing(here.engine) as conn:
        samples.add(conn, NewSample(here.product_id, "train", "import", add_blob(conn, 1), sha(1)), NOW)
        found = due(conn, SETTINGS, NOW, None)
        assert found == Due(here.product_id, "person", here.engineer.id, command_id, cold)
        made = run.open_run(conn, SETTINGS, found, NOW)
        runs.start(conn, made.id, snapshots.freeze(conn, here.product_id, NOW).id, NOW)
        return runs.get(conn, made.id), command_id


def now(here: Line, run_id: int) -> TrainingRun:
    with reading(here.engine) as conn:
        return runs.get(conn, run_id)


def taken_up(here: Line) -> TrainingRun | None:
    with writing(here.engine) as conn:
        return resuming.take_up(conn, SETTINGS, NOW)


def left(here: Line, run_id: int, words: str, *, crashed: bool) -> None:
    with writing(here.engine) as conn:
        assert runs.leave(conn, run_id, words, NOW, crashed=crashed)


def test_a_run_is_taken_up_twice_after_crashes_and_then_fails_with_what_ended_each(here: Line) -> None:
    first, command_id = opened(here)
    assert (first.state, first.attempts) == ("running", 1)
    second = taken_up(here)
    assert second and (second.id, second.attempts, second.snapshot_id) == (first.id, 2, first.snapshot_id)
    left(here, first.id, "killed by signal 9", crashed=True)
    assert now(here, first.id).state == "queued"
    third = taken_up(here)
    assert third and third.attempts == 3
    with reading(here.engine) as conn:
        assert commands.get(conn, command_id).state == "running"
    assert taken_up(here) is None
    ended = now(here, first.id)
    assert (ended.state, ended.attempts) == ("failed", 3)
    words = resuming.WITHOUT_A_WORD
    assert ended.reason == f"given up: attempt 1: {words}; attempt 2: killed by signal 9; attempt 3: {words}"
    with reading(here.engine) as conn:
        command = commands.get(conn, command_id)
    assert (command.state, command.result) == ("failed", {"run": first.id, "state": "failed"})


def test_an_end_in_good_order_costs_no_attempt(here: Line) -> None:
    first, _ = opened(here)
    for _ in range(5):
        left(here, first.id, "the agent was stopped", crashed=False)
        again = taken_up(here)
        assert again and again.attempts == 1


def test_a_run_that_ended_is_left_alone(here: Line) -> None:
    first, command_id = opened(here)
    left(here, first.id, "killed by signal 9", crashed=True)
    service.cancel(here.engine, here.engineer, first.id, reason="not now", key="c", now=NOW)
    with writing(here.engine) as conn:
        assert commands.get(conn, command_id).state == "failed"
        assert not runs.leave(conn, first.id, "too late", NOW, crashed=True)
    assert taken_up(here) is None
    assert now(here, first.id).reason == "not now"


def test_a_retired_product_is_trained_no_further(here: Line) -> None:
    first, _ = opened(here)
    with writing(here.engine) as conn:
        products.retire(conn, here.product_id, NOW)
    assert taken_up(here) is None
    assert now(here, first.id).state == "cancelled"


def test_a_person_goes_on_with_a_run_only_where_it_would_do_the_same(here: Line) -> None:
    first, _ = opened(here)
    with writing(here.engine) as conn:
        again = resuming.take_up_of(conn, SETTINGS, here.product_id, False, NOW)
    assert again and again.id == first.id
    with writing(here.engine) as conn:
        assert resuming.take_up_of(conn, SETTINGS, here.product_id + 1, False, NOW) is None
        samples.add(conn, NewSample(here.product_id, "train", "import", add_blob(conn, 2), sha(2)), NOW)
        assert resuming.take_up_of(conn, SETTINGS, here.product_id, False, NOW) is None
    assert now(here, first.id).state == "cancelled"


def test_a_cold_start_is_a_run_of_its_own(here: Line) -> None:
    first, _ = opened(here)
    with writing(here.engine) as conn:
        assert resuming.take_up_of(conn, SETTINGS, here.product_id, True, NOW) is None
    assert now(here, first.id).state == "cancelled"


def test_a_run_goes_on_with_the_present_settings(here: Line) -> None:
    first, command_id = opened(here, cold=True)
    changed = SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"seed": 5})})
    with writing(here.engine) as conn:
        again = resuming.take_up(conn, changed, NOW)
    assert again and again.id == first.id
    assert again.settings["training"]["seed"] == 5 and again.settings["decision_hash"] == changed.decision_hash
    assert (again.settings["command"], again.settings["cold"]) == (command_id, True)


@pytest.mark.parametrize("crashed", [False, True])
def test_two_agents_and_one_trigger_are_one_training(here: Line, crashed: bool) -> None:
    if crashed:
        opened(here)
    else:
        service.request(here.engine, here.engineer, here.product_id, key="1", now=NOW)
    agents = [Scheduler(SETTINGS, here.engine, NoLive(), lambda: NOW + timedelta(minutes=1)) for _ in range(2)]
    together = Barrier(len(agents))

    def look(agent: Scheduler) -> bool:
        together.wait()
        with writing(here.engine) as conn:
            return agent._open(conn) is not None

    with ThreadPoolExecutor(len(agents)) as pool:
        assert sorted(pool.map(look, agents)) == [False, True]
    with reading(here.engine) as conn:
        (run_,) = runs.all(conn, here.product_id)
    assert (run_.state, run_.attempts) == ("running", 2 if crashed else 1)
