"""The pipeline over a log in memory that lost frames, was cut, or is another one than before."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import Connection, Engine

from agent.pipeline import record
from agent.pipeline.gap import DataGapError
from agent.sources.base import Bounds
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import alerts, gaps, offsets
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.offsets import Counts
from agent.store.tables import consumer_offset, data_gap
from tests.streams import (
    DEFECT,
    FakeScorer,
    frame,
    headers,
    running,
    settings,
    until,
)


@pytest.mark.promise(3)
@pytest.mark.parametrize(("policy", "expected"), [("earliest", {"f0", "f4"}), ("latest", {"f0", "f5"})])
def test_frames_that_the_log_lost_are_a_gap_on_record(
    engine: Engine, tmp_path: Path, policy: str, expected: set[str]
) -> None:
    log = MemoryLog()
    wanted = settings(tmp_path, kafka={"on_gap": policy})
    log.append(frame(), headers("f0"))
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(1)
    for number in range(1, 5):
        log.append(frame(), headers(f"f{number}"))
    log.truncate(0, 4)
    with running(engine, wanted, MemorySource(log)) as run:
        run.until(lambda: run.rows(data_gap))
        run.until(lambda: run.pipeline.stats().partitions == (0,))
        if policy == "latest":
            log.append(frame(), headers("f5"))
        run.until_received(2)
        (row,) = run.rows(data_gap)
        assert (row.kind, row.from_offset, row.to_offset) == ("below_start", 1, 4 if policy == "earliest" else 5)
        assert {one.frame_id for one in run.rows()} == expected


@pytest.mark.promise(3)
def test_a_gap_stops_the_agent_where_it_shall(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("a"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
    log.append(frame(), headers("b"))
    log.append(frame(), headers("c"))
    log.truncate(0, 2)
    with running(engine, settings(tmp_path, kafka={"on_gap": "stop"}), MemorySource(log)) as run:
        assert run.pipeline.halted.wait(20)
        assert isinstance(run.pipeline.failed, DataGapError)
        assert run.rows(data_gap) == []


@pytest.mark.promise(3)
def test_a_log_that_ends_before_the_stored_offset_is_another_stream(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number in range(3):
        log.append(frame(DEFECT), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(3)
    restored = MemoryLog()
    restored.append(frame(DEFECT), headers("g0"))
    for _ in range(2):
        with running(engine, settings(tmp_path), MemorySource(restored)) as run:
            run.until_received(4)
            assert {row.frame_id for row in run.rows()} == {"f0", "f1", "f2", "g0"}
            assert [row.kind for row in run.rows(data_gap)] == ["beyond_end"]


def _cut_and_grown(log: MemoryLog, *ids: str) -> None:
    """The log was cut at offset 2, and went on beyond what was read, before anybody looked."""
    log.reachable = False
    log.cut(0, 2)
    for one in ids:
        log.append(frame(DEFECT), headers(one))
    log.reachable = True


@pytest.mark.promise(3)
@pytest.mark.parametrize("policy", ["earliest", "latest", "stop"])
def test_what_was_written_where_the_log_was_cut_is_another_stream(engine: Engine, tmp_path: Path, policy: str) -> None:
    log, wanted = MemoryLog(), settings(tmp_path, kafka={"on_gap": policy})
    old, new = [f"f{number}" for number in range(5)], [f"g{number}" for number in range(6)]
    for one in old:
        log.append(frame(DEFECT), headers(one))
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(5)
        _cut_and_grown(log, *new)
        if policy == "stop":
            assert run.pipeline.halted.wait(20)
            assert isinstance(run.pipeline.failed, DataGapError)
        until(lambda: run.rows(data_gap))
        (row,) = run.rows(data_gap)
        assert (row.kind, row.from_offset, row.to_offset) == ("truncated", 5, 8 if policy == "latest" else 2)
    log.append(frame(DEFECT), headers("last"))
    read = [*old, *([] if policy == "latest" else new), "last"]
    with running(engine, wanted, MemorySource(log)) as run:
        assert run.until_received(len(read)) == Counts(len(read), inspected=len(read))
        assert {one.frame_id for one in run.rows()} == {*read}
        assert len(run.rows(data_gap)) == 1
        with reading(engine) as conn:
            assert [(one.stream_id, one.next_offset) for one in offsets.partitions(conn)] == [(1, 5), (2, 9)]


@pytest.mark.promise(3)
@pytest.mark.parametrize("policy", ["earliest", "stop"])
@pytest.mark.parametrize("markers", [0, 2])
def test_a_log_that_was_cut_while_no_agent_read_it_is_another_stream(
    engine: Engine, tmp_path: Path, policy: str, markers: int
) -> None:
    """It has grown beyond the stored offset since, so that only the leader epoch tells."""
    log, wanted = MemoryLog(), settings(tmp_path, kafka={"on_gap": policy})
    old, new = [f"f{number}" for number in range(5)], [f"g{number}" for number in range(9)]
    for one in old:
        log.append(frame(DEFECT), headers(one))
    log.skip(0, markers)
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(5)
        run.until(lambda: [row.next_offset for row in run.rows(consumer_offset)] == [5 + markers])
    _cut_and_grown(log, *new)
    if policy == "stop":
        with running(engine, wanted, MemorySource(log)) as run:
            assert run.pipeline.halted.wait(20)
            assert isinstance(run.pipeline.failed, DataGapError)
    with running(engine, wanted, MemorySource(log)) as run:
        assert run.until_received(14) == Counts(14, inspected=14)
        assert {one.frame_id for one in run.rows()} == {*old, *new}
        (row,) = run.rows(data_gap)
        assert (row.kind, row.from_offset, row.to_offset) == ("truncated", 5 + markers, 2)


@pytest.mark.promise(3)
def test_frames_in_flight_where_the_log_was_cut_are_recorded_first(engine: Engine, tmp_path: Path) -> None:
    log, scorer = MemoryLog(), FakeScorer(delay_s=0.05)
    for number in range(8):
        log.append(frame(), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log), scorer=scorer) as run:
        run.until_received(1)
        _cut_and_grown(log, *(f"g{number}" for number in range(9)))
        assert run.until_received(17) == Counts(17, inspected=17)
        (row,) = run.rows(data_gap)
        assert (row.kind, row.from_offset, row.to_offset) == ("truncated", 8, 2)


@pytest.mark.promise(3)
@pytest.mark.parametrize("policy", ["earliest", "stop"])
def test_a_gap_whose_commit_was_not_answered_is_told_and_stops_the_agent_where_it_shall(
    engine: Engine, tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []

    @contextmanager
    def unanswered(engine: Engine) -> Iterator[Connection]:
        with writing(engine) as conn:
            yield conn
        if not lost and data_gaps(engine):
            lost.append("the answer")
            raise Unreachable("the connection broke")

    def data_gaps(engine: Engine) -> list[str]:
        with reading(engine) as conn:
            return [one.kind for one in gaps.recent(conn)]

    log, wanted = MemoryLog(), settings(tmp_path, kafka={"on_gap": policy})
    for number in range(5):
        log.append(frame(DEFECT), headers(f"f{number}"))
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(5)
        monkeypatch.setattr(record, "writing", unanswered)
        _cut_and_grown(log, *(f"g{number}" for number in range(6)))
        if policy == "stop":
            assert run.pipeline.halted.wait(20)
            assert isinstance(run.pipeline.failed, DataGapError)
        else:
            run.until_received(11)
        assert lost
        assert data_gaps(engine) == ["truncated"]
        assert b'goodpart_data_gaps_total{kind="truncated"} 1.0' in run.metrics.text()
        with reading(engine) as conn:
            (alert,) = alerts.standing(conn)
        assert (alert.kind, alert.subject, alert.n) == ("data_gap", "partition:goodpart.frames/0", 1)


class LateEnd(MemorySource):
    """Tells an end that is too low for a while, as tansu does after a batch of several records."""

    late_until: float | None = None

    def bounds(self, partitions: Collection[int]) -> dict[int, Bounds]:
        true = super().bounds(partitions)
        self.late_until = self.late_until or monotonic() + 0.2
        return {p: Bounds(0, 1) for p in true} if monotonic() < self.late_until else true


@pytest.mark.promise(3)
def test_a_log_whose_end_is_told_late_is_no_other_stream(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pipeline.intake.CERTAIN_S", 1.0)
    log = MemoryLog()
    for number in range(3):
        log.append(frame(), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(3)
    log.append(frame(), headers("f3"))
    with running(engine, settings(tmp_path), LateEnd(log)) as run:
        assert run.until_received(4) == Counts(4, inspected=4)
        assert run.rows(data_gap) == []


@pytest.mark.promise(3)
@pytest.mark.parametrize("start_from", ["earliest", "latest"])
def test_a_topic_recreated_while_the_agent_runs_is_read_from_its_start(
    engine: Engine, tmp_path: Path, start_from: str
) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path, kafka={"start_from": start_from}), MemorySource(log)) as run:
        run.until(lambda: run.pipeline.stats().partitions == (0,))
        for number in range(3):
            log.append(frame(), headers(f"f{number}"))
        run.until_received(3)
        log.recreate()
        log.append(frame(), headers("again"))
        assert run.until_received(4) == Counts(4, inspected=4)
        with reading(engine) as conn:
            assert sorted(one.next_offset for one in offsets.partitions(conn)) == [1, 3]
