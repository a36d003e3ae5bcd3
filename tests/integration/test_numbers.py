"""Numbers of cameras over restarts, takeovers and logs that are not as they were: only what a camera lost is a gap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import alerts
from agent.store.engine import writing
from agent.store.tables import data_gap
from tests.alarms import standing
from tests.streams import Running, corrupt, frame, headers, running, settings

pytestmark = pytest.mark.usefixtures("each_database")


class Line:
    """A log, cameras that number their frames, and agents that come and go."""

    def __init__(self, engine: Engine, folder: Path, partitions: int = 1) -> None:
        self.log = MemoryLog(partitions)
        self._engine, self._settings, self._sent = engine, settings(folder, pipeline={"blind_after": 99}), 0

    def send(self, *numbers: int, partition: int = 0, value: bytes = frame(), **more: Any) -> None:
        for number in numbers:
            self._sent += 1
            named = headers(f"f{self._sent}", sequence=number, **more)
            self.log.append(value, named, partition=partition)

    @contextmanager
    def agent(self, name: str = "agent") -> Iterator[Running]:
        with self.source(MemorySource(self.log), name) as run:
            yield run

    @contextmanager
    def source(self, source: MemorySource, name: str) -> Iterator[Running]:
        with running(self._engine, self._settings, source, agent=name) as run:
            yield run

    def recorded(self, run: Running) -> None:
        """All that was sent is."""
        run.until_received(self._sent)
        assert run.pipeline.drain(20)

    def through(self, name: str = "agent") -> None:
        """An agent comes, records what was sent, and goes."""
        with self.agent(name) as run:
            self.recorded(run)

    def gaps(self) -> list[dict[str, Any]]:
        """The numbers of the alert that stands, which ends with this; none where none was raised."""
        found = [one for one in standing(self._engine) if (one.kind, one.subject) == ("sequence_gap", "station:s1")]
        with writing(self._engine) as conn:
            alerts.clear(conn, "sequence_gap", "station:s1", utc_now())
        assert all(one.n == 1 for one in found)
        return [one.numbers for one in found]


def test_what_a_camera_lost_while_no_agent_ran_is_told_and_a_restart_alone_is_not(
    engine: Engine, tmp_path: Path
) -> None:
    line = Line(engine, tmp_path)
    line.send(5, 6, 7)
    line.through()
    line.send(8)
    line.through("another")
    assert line.gaps() == []
    line.send(12, 13)
    line.through()
    assert line.gaps() == [{"missed": 3, "last": 8, "number": 12}]
    line.send(1, 2)  # the camera was started anew, too
    line.through()
    line.send(3)
    line.through()
    assert line.gaps() == []


def test_what_fails_around_a_restart_has_used_up_its_number(engine: Engine, tmp_path: Path) -> None:
    line = Line(engine, tmp_path)
    line.send(1)
    line.send(2, product="nothing")
    line.send(3, value=corrupt())
    line.send(4, product="nothing")
    line.through()
    line.send(5, product="nothing")
    line.send(6)
    line.through()
    assert line.gaps() == []


def test_another_agent_goes_on_with_the_number_that_the_first_left(engine: Engine, tmp_path: Path) -> None:
    line = Line(engine, tmp_path)
    first, second = (MemorySource(line.log, auto=False) for _ in range(2))
    with line.source(first, "a") as one, line.source(second, "b") as other:
        first.assign([0])
        line.send(1, 2)
        one.until_received(2)
        first.revoke([0])
        second.assign([0])
        line.send(3, 4)
        one.until_received(4)
        second.revoke([0])
        first.assign([0])
        line.send(5)
        one.until_received(5)
        assert line.gaps() == []
        first.lose([0])
        second.assign([0])
        line.send(7)
        line.recorded(other)
    assert line.gaps() == [{"missed": 1, "last": 5, "number": 7}]


def test_behind_a_data_gap_and_in_a_topic_made_anew_the_first_number_says_nothing(
    engine: Engine, tmp_path: Path
) -> None:
    line = Line(engine, tmp_path)
    line.send(1, 2)
    line.through()
    line.log.append(frame(), headers("gone", sequence=3))
    line.log.truncate(0, 3)
    line.send(4)
    with line.agent() as run:
        line.recorded(run)
        assert len(run.rows(data_gap)) == 1
    line.log.recreate()
    line.send(9)
    line.through()
    assert line.gaps() == []


def test_a_station_in_two_partitions_has_no_order_whoever_has_them(engine: Engine, tmp_path: Path) -> None:
    line = Line(engine, tmp_path, partitions=2)
    first, second = (MemorySource(line.log, auto=False) for _ in range(2))
    with line.source(first, "a") as one, line.source(second, "b"):
        first.assign([0])
        second.assign([1])
        for number in range(0, 12, 2):
            line.send(number, partition=0)
            line.send(number + 1, partition=1)
            one.until_received(number + 2)
    with line.agent() as run:
        line.send(12, partition=1)
        line.send(14, partition=0)
        line.recorded(run)
    assert line.gaps() == []
