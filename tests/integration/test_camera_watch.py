"""Cameras that go wrong under a running pipeline: each problem is told once, its end once, and frames are decided."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import Engine

from agent.frame import RAW, RawFormat
from agent.pipeline.usual import LEAST
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import camera_history, stations
from agent.store.camera_history import Usual
from agent.store.engine import reading, writing
from tests.alarms import standing
from tests.streams import Running, corrupt, headers, running, settings

SIDE = 64
Pixels = npt.NDArray[np.float32]


@dataclass
class Alarms:
    """Keeps what begins and ends; as those of the contract, it says nothing twice. Thread-safe."""

    told: list[tuple[str, str, bool]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _open: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def raised(self, kind: str, subject: str, words: str, *, level: str = "warning", **detail: object) -> None:
        with self._lock:
            self.words.append(words)
            if (kind, subject) not in self._open:
                self._open.add((kind, subject))
                self.told.append((kind, subject, True))

    def cleared(self, kind: str, subject: str) -> None:
        with self._lock:
            if (kind, subject) in self._open:
                self._open.remove((kind, subject))
                self.told.append((kind, subject, False))


class Camera:
    """Pictures of parts on a plate, each with its own noise, as raw pixels in a log."""

    def __init__(self, log: MemoryLog, station: str = "s1") -> None:
        self._log, self._station = log, station
        self._rng = np.random.default_rng(3)
        self._part = cv2.GaussianBlur(self._rng.normal(0, 60, (SIDE, SIDE)).astype(np.float32), (0, 0), 1) + 110
        self.number = 0

    def part(self) -> Pixels:
        moved = np.roll(self._part, int(self._rng.integers(-3, 4)), axis=1)
        return np.asarray(moved * self._rng.normal(1, 0.03), np.float32)

    def good(self, count: int) -> None:
        for _ in range(count):
            self.send(self.part())

    def blurred(self, count: int) -> None:
        for _ in range(count):
            self.send(np.asarray(cv2.GaussianBlur(self.part(), (0, 0), 2), np.float32))

    def send(self, values: Pixels, *, noise: float = 1.0, step: int = 1, **more: Any) -> None:
        self.number += step
        seen = np.clip(np.rint(values + self._rng.normal(0, noise, values.shape)), 0, 255).astype(np.uint8)
        self.put(seen.tobytes(), f"{self._station}-{self.number}", **more)

    def put(self, value: bytes, frame_id: str, **more: Any) -> None:
        given: dict[str, Any] = {
            "content_type": RAW,
            "raw": RawFormat(SIDE, SIDE, "Mono8"),
            "sequence": self.number,
        } | more
        self._log.append(value, headers(frame_id, station=self._station, **given))


def _value(run: Running, name: str, **labels: str) -> float | None:
    return run.metrics.registry.get_sample_value(name, labels)


def test_each_problem_is_told_once_and_its_end_once(engine: Engine, tmp_path: Path) -> None:
    log, alarms = MemoryLog(), Alarms()
    camera, other = Camera(log), Camera(log, "s2")
    with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
        camera.good(LEAST + 20)
        other.good(30)
        camera.blurred(12)
        camera.good(12)
        for _ in range(12):
            camera.send(camera.part() * 2.5)
        camera.good(12)
        for _ in range(5):
            camera.send(np.full((SIDE, SIDE), 4, np.float32))
        camera.good(5)
        picture = camera.part()
        for _ in range(8):
            camera.send(picture, noise=0)
        camera.good(5)
        sent = LEAST + 20 + 30 + 12 * 4 + 5 * 2 + 8 + 5
        counts = run.until_received(sent)
        assert counts.inspected == sent, "an alarm keeps no frame from its verdict"
        kinds = ["camera_defocused", "camera_saturated", "camera_black", "camera_frozen"]
        wanted = [(kind, "station:s1", raised) for kind in kinds for raised in (True, False)]
        run.until(lambda: len(alarms.told) >= len(wanted))
        assert alarms.told == wanted
        assert len(alarms.words) == 4
        assert all(words.startswith("station s1: ") for words in alarms.words)
        for kind in kinds:
            assert _value(run, "goodpart_camera_problem", station="s1", problem=kind) == 0
        assert _value(run, "goodpart_camera_missed_frames_total", station="s1") is None


def test_numbers_that_jump_are_lost_frames_and_nothing_else_is(engine: Engine, tmp_path: Path) -> None:
    log, alarms = MemoryLog(), Alarms()
    camera = Camera(log)
    with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
        camera.number = 70
        camera.good(3)
        camera.put(b"", "s1-71", sequence=71)  # sent again: a duplicate
        camera.number += 1
        camera.put(corrupt(), "torn", raw=None, content_type="image/png")
        camera.send(camera.part(), product="nothing")  # a dead letter
        camera.good(2)
        camera.number = 0  # it was started anew
        camera.good(2)
        run.until_received(10)
        assert standing(engine) == []
        camera.send(camera.part(), step=4)
        run.until_received(11)
        (gap,) = standing(engine)
        assert (gap.kind, gap.subject, gap.n) == ("sequence_gap", "station:s1", 1)
        assert gap.numbers == {"missed": 3, "last": 2, "number": 6}
        assert gap.words.startswith("station s1: 3 frames were lost") and alarms.told == []
        assert _value(run, "goodpart_camera_missed_frames_total", station="s1") == 3


def test_after_a_claim_what_is_usual_comes_from_the_database(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pipeline.run.REPORT_S", 1000.0)  # nothing is saved but at the end
    log, alarms = MemoryLog(), Alarms()
    camera, source = Camera(log), MemorySource(log)
    with running(engine, settings(tmp_path), source, alarms=alarms) as run:
        camera.good(LEAST + 20)
        run.until_received(LEAST + 20)
        run.until(lambda: _value(run, "goodpart_camera_problem", station="s1", problem="camera_black") == 0)
        source.revoke({0})
        run.until(lambda: _value(run, "goodpart_camera_problem", station="s1", problem="camera_black") is None)
        source.assign({0})
        camera.good(LEAST + 20)
        run.until_received(2 * LEAST + 40)
    assert alarms.told == []
    with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
        camera.blurred(12)
        run.until(lambda: alarms.told == [("camera_defocused", "station:s1", True)])


def test_a_station_in_two_partitions_has_no_gaps(engine: Engine, tmp_path: Path) -> None:
    log, alarms = MemoryLog(2), Alarms()
    with running(engine, settings(tmp_path, pipeline={"blind_after": 99}), MemorySource(log), alarms=alarms) as run:
        for partition in (0, 1):
            log.append(corrupt(), headers(f"first-{partition}", sequence=1), partition=partition)
        run.until_received(2)
        for number in range(2, 20):
            log.append(corrupt(), headers(f"f{number}", sequence=number), partition=number % 2)
        run.until_received(20)
    assert alarms.told == []


def test_a_person_makes_it_learn_anew_while_the_agent_runs(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pipeline.run.TIDY_EVERY_S", 0.5)
    monkeypatch.setattr("agent.pipeline.run.REPORT_S", 0.05)
    log, alarms = MemoryLog(), Alarms()
    camera = Camera(log)

    def usual() -> dict[str, Usual]:
        with reading(engine) as conn:
            found = stations.named(conn, "s1")
            return camera_history.of(conn, found.id)

    with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
        camera.good(LEAST + 20)
        run.until(lambda: {one.n for one in usual().values()} == {LEAST + 20})
        with writing(engine) as conn:
            assert camera_history.forget(conn, stations.named(conn, "s1").id) == 2

        def relearns() -> bool:
            camera.good(1)
            return 0 < max((one.n for one in usual().values()), default=0) < LEAST

        run.until(relearns)
    assert alarms.told == []
