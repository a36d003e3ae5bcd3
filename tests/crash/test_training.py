"""Trainings whose processes die: the loop ends as if they had not. Real children, real agents, tiny pictures."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent import failpoints
from agent import settings as settings_module
from agent.phrases import MADE
from agent.retrain import child, holding, job, now
from agent.retrain.schedule import Scheduler
from agent.service import retrain as service
from agent.settings import utc_now
from agent.store import calibration, certificates, registry, runs
from agent.store.engine import reading, writing
from tests.crash.plant import Agent
from tests.integration.retrain_parts import Plant, imported, until

BY_PERSON = "by a person at a terminal"
STEPS = 30
CHECKPOINT = 25  # the step after which the first one is kept


@pytest.fixture(scope="module")
def trained(narrow: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant whose first model is live."""
    place = imported(tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("images"))
    plant = Plant(place)
    assert plant.train().promoted
    plant.engine.dispose()
    return place


@pytest.fixture(scope="module")
def unbroken(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """How the loop ends where nothing dies."""
    place = tmp_path_factory.mktemp("unbroken") / "plant"
    shutil.copytree(trained, place)
    plant = asking(place)
    assert plant.train(threads=child.threads()).promoted
    found = end_of(plant)
    plant.engine.dispose()
    return found


@pytest.fixture
def plant(trained: Path, tmp_path: Path) -> Iterator[Plant]:
    """A plant that a person has asked for a second model."""
    shutil.copytree(trained, tmp_path / "plant")
    plant = asking(tmp_path / "plant")
    service.request(plant.engine, plant.user, plant.product.id, key="1", now=utc_now())
    yield plant
    plant.engine.dispose()


def asking(place: Path) -> Plant:
    """A plant whose next model is another one."""
    plant = Plant(place)
    plant.change("training", steps=STEPS, seed=1)
    return plant


def end_of(plant: Plant) -> dict[str, Any]:
    """What a run left for good."""
    run = plant.runs()[0]
    with reading(plant.engine) as conn:
        versions, report = registry.versions(conn, plant.product.id), runs.report_of(conn, run.id)
        assert report
        return {
            "runs": len(plant.runs()),
            "run": (run.state, untimed(run.reason or ""), run.losses),
            "versions": [
                (one.number, one.state, untimed(one.reason or ""), one.artifact_sha256, one.manifest["weights_sha256"])
                for one in versions
            ],
            "scores": calibration.scores_of(conn, versions[0].id),
            "certificates": [row.record for one in versions for row in certificates.of_version(conn, one.id)],
            "gate": (report.verdict, untimed(report.words), {**report.numbers, "pace": None, MADE: None}),
            "deployments": [
                (one.number, untimed(one.reason), one.by) for one in registry.deployments(conn, plant.product.id)
            ],
        }


def untimed(words: str) -> str:
    """What the gate said, without how long the models took."""
    return "; ".join(part for part in words.split("; ") if "gate.slowdown" not in part)


def attempt(plant: Plant, point: str, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    """An agent, this process, that starts one child, which dies at a point; what the agent is once that has ended."""
    monkeypatch.setenv(failpoints.VARIABLE, point)
    scheduler = Scheduler(plant.settings, plant.engine, plant.live, utc_now)
    scheduler.tick()
    started = scheduler.running
    assert started, "no child was started"
    until(lambda: scheduler.running is None)
    assert started.process.returncode == (-signal.SIGKILL if point else 0)
    return scheduler


def stands(pid: int | None) -> bool:
    """Whether a process was stopped."""
    return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize(
    ("points", "begun"),  # begun: the first step of each attempt that trained
    [
        (("train.frozen", "train.kept", BY_PERSON), [1, CHECKPOINT + 1]),
        (("train.step:3", "train.verdict", "train.recorded"), [1, 1, CHECKPOINT + 1]),
    ],
)
def test_a_killed_child_changes_nothing_about_the_end(
    plant: Plant,
    unbroken: dict[str, Any],
    points: tuple[str, ...],
    begun: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    by_person: list[int] = []
    for number, point in enumerate(points, 1):
        if point == BY_PERSON:
            with capture_logs() as told:
                now.retrain(
                    plant.engine, plant.blobs, plant.settings, plant.product.id,
                    actor=plant.user, live=plant.live, clock=utc_now,
                )  # fmt: skip
            by_person = [one["step"] for one in told if one["event"] == "training_begun"]
        else:
            scheduler = attempt(plant, point, monkeypatch)
        run = plant.runs()[0]
        assert run.attempts == number
        if number < len(points):
            assert run.state == "queued" and run.reason
            assert run.reason.endswith(f"attempt {number}: its process was killed by signal 9")
    assert end_of(plant) == unbroken
    assert plant.runs()[0].ends == [f"attempt {n}: its process was killed by signal 9" for n in (1, 2)]
    by_children = [int(step) for step in re.findall(r"training_begun +step=(\d+)", capfd.readouterr().err)]
    assert by_children + by_person == begun
    scheduler.tick()
    assert scheduler.running is None, "there is nothing left to do"
    # The last one to die had no time to clear away; the next run's process does.
    assert len(list(plant.settings.retrain.directory.iterdir())) == (points[-1] != BY_PERSON)


def test_an_agent_that_is_stopped_leaves_its_run_to_the_next(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "train.step:5:STOP")
    monkeypatch.setattr("agent.retrain.schedule.PATIENCE_S", 120.0)  # a busy machine is no reason to kill it
    scheduler = plant.scheduler()
    until(lambda: scheduler.running is not None)
    started = scheduler.running
    assert started
    try:
        until(lambda: stands(started.process.pid))
        stopping = Thread(target=scheduler.stop)
        stopping.start()
        until(lambda: scheduler._stopping)
        started.process.send_signal(signal.SIGTERM)
        started.process.send_signal(signal.SIGCONT)
        stopping.join()
    finally:
        started.process.kill()
    assert started.process.returncode == job.LEFT
    run = plant.runs()[0]
    assert (run.state, run.attempts, run.reason) == ("queued", 0, "the agent that started it was stopped")
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now()), "the lease was not given back"


def test_a_killed_agent_changes_nothing_about_the_end(plant: Plant, unbroken: dict[str, Any], tmp_path: Path) -> None:
    agents = list[Agent]()

    def agent(point: str) -> Agent:
        given = settings_module.environment(plant.settings) | {
            "GOODPART_REDIS__URL": "", "GOODPART_AGENT__PORT": "0", "GOODPART_LOG__FORMAT": "json",
            "GOODPART_SOURCE__KIND": "directory", "GOODPART_SOURCE__DIRECTORY": str(tmp_path / "spool"),
            failpoints.VARIABLE: point, "RETRAINS": child.JOB,
        }  # fmt: skip
        agents.append(Agent(tmp_path, "", plant.engine, **given))
        return agents[-1]

    def child_of(of: Agent) -> int | None:
        return next((one["pid"] for one in of.events() if one["event"] == "training_child_started"), None)

    def begun(under: Agent) -> list[int]:
        return [one["step"] for one in under.events() if one["event"] == "training_begun"]

    first, pid = agent("train.kept:1:STOP"), None
    try:
        until(lambda: stands(child_of(first)))
        pid = child_of(first)
        assert pid is not None
        assert first.end(signal.SIGKILL) == -signal.SIGKILL  # in the middle of the training, past a checkpoint
        os.kill(pid, signal.SIGCONT)
        until(lambda: plant.runs()[0].state == "queued")
        run = plant.runs()[0]
        assert (run.attempts, run.reason) == (1, "attempt 1: the agent that started it is gone")
        pid = None

        second = agent("swap.begin")  # between the promotion and its swap
        until(lambda: second.process.poll() is not None)
        assert second.process.returncode == -signal.SIGKILL
        assert plant.live_version() == 2 and plant.runs()[0].attempts == 2
        assert [begun(one) for one in (first, second)] == [[1], [CHECKPOINT + 1]]

        third = agent("")
        until(lambda: any(one["event"] == "agent_started" for one in third.events()))
        ready = [one["version"] for one in third.events() if one["event"] == "model_ready"]
        assert third.end(signal.SIGTERM) == 0, third.said()
        assert ready == [2]
    finally:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in agents:
            one.end(signal.SIGKILL)
    assert end_of(plant) == unbroken
