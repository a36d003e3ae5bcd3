"""What fails in the pipeline, a frame, a batch, an engine or a partition: what is recorded of it, and what goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.frame import DataRef
from agent.pipeline import stalls
from agent.pipeline.score import EngineFaultError
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.tables import item, station
from tests.streams import (
    GOOD,
    POISON,
    FakeScorer,
    corrupt,
    frame,
    headers,
    running,
    settings,
)


@pytest.mark.promise(5)
def test_a_batch_that_fails_is_halved_until_only_the_bad_frame_is_left(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    values = [GOOD] * 9
    values[4] = POISON
    for number, value in enumerate(values):
        log.append(frame(value), headers(f"f{number}"))
    with running(engine, settings(tmp_path, pipeline={"max_wait_ms": 500}), MemorySource(log)) as run:
        counts = run.until_received(9)
        assert (counts.inspected, counts.not_inspected) == (8, 1)
        assert {row.frame_id: row.reason for row in run.rows() if row.reason} == {"f4": "model_error"}
        assert {row.deployment_id for row in run.rows()} == {run.seeded.deployment_id}, "what tried it, too"


def test_a_frame_that_cannot_be_the_models_input_has_the_wrong_size(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number in range(5):
        log.append(frame(side=2 if number == 3 else 24), headers(f"f{number}"))
    log.append(frame(side=2), headers("alone"))
    with running(engine, settings(tmp_path, pipeline={"max_wait_ms": 500}), MemorySource(log)) as run:
        counts = run.until_received(6)
        assert (counts.inspected, counts.not_inspected) == (4, 2)
        found = {row.frame_id: (row.verdict, row.reason, row.score_ms) for row in run.rows() if row.reason}
        assert found == dict.fromkeys(("f3", "alone"), ("not_inspected", "wrong_size", None))
        assert {row.deployment_id for row in run.rows()} == {run.seeded.deployment_id}
        assert {row.frame_id: row.kind for row in run.rows(item)} == {"f3": "failed", "alone": "failed"}


def test_a_score_that_is_no_number_is_a_model_error(engine: Engine, tmp_path: Path) -> None:
    class Nan(FakeScorer):
        def score(self, frames: Any) -> Any:
            found = super().score(frames)
            for one in found:
                one.score = float("nan")
            return found

    log = MemoryLog()
    log.append(frame(), headers("a"))
    with running(engine, settings(tmp_path), MemorySource(log), scorer=Nan()) as run:
        run.until_received(1)
        (row,) = run.rows()
        assert (row.verdict, row.reason, row.score) == ("not_inspected", "model_error", None)
        assert row.deployment_id == run.seeded.deployment_id


@pytest.mark.promise(5, 6)
def test_a_broken_engine_opens_the_breaker_and_records_nothing(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        log.append(frame(), headers("a"))
        run.until_received(1)
        run.scorer.broken = True
        log.append(frame(), headers("b"))
        assert run.pipeline.halted.wait(20)
        assert isinstance(run.pipeline.failed, EngineFaultError)
        assert run.totals().received == 1


@pytest.mark.promise(5)
def test_failures_in_a_row_make_a_station_blind_until_one_is_inspected(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path, pipeline={"blind_after": 3}), MemorySource(log)) as run:

        def status() -> tuple[str, int]:
            row = next(one for one in run.rows(station) if one.name == "s1")
            return row.status, row.failures_in_row

        for number in range(2):
            log.append(corrupt(), headers(f"x{number}"))
        run.until(lambda: status() == ("ok", 2))
        log.append(frame(), headers("x2", product="flnage"))
        run.until(lambda: status() == ("blind", 3))
        log.append(frame(), headers("x3", station="nowhere"))
        log.append(frame(), [("station", b"s1"), ("ce_time", b"yesterday")])
        log.append(b"", headers("x4", dataref=DataRef("s3://elsewhere/x", "0" * 64, 9)))
        run.until(lambda: status() == ("blind", 5))
        log.append(frame(), headers("fine"))
        run.until(lambda: status() == ("ok", 0))


@pytest.mark.promise(7)
def test_frames_that_stand_still_are_no_life_unless_a_dependency_is_out(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(FakeScorer):
        go_on = threading.Event()

        def score(self, frames: Any) -> Any:
            self.go_on.wait(30)
            return super().score(frames)

    monkeypatch.setattr(stalls, "STALL_S", 0.2)
    log, scorer, wanted = MemoryLog(), Stuck(), settings(tmp_path, pipeline={"claim_wait_s": 0.1})
    with running(engine, wanted, MemorySource(log), scorer=scorer) as run:
        try:
            run.until(lambda: run.pipeline.stats().partitions == (0,))
            assert run.health.dead() == {}  # nothing to do is no standstill
            log.append(frame(), headers("a"))
            run.until(lambda: "progress" in run.health.dead())
            run.health.dependency("database", "gone")
            assert run.health.dead() == {}
            run.health.dependency("database", None)
        finally:
            scorer.go_on.set()
        run.until_received(1)
        run.until(lambda: run.health.dead() == {})
