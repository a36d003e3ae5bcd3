"""The intake waits for nobody: what is full is paused, and the source is polled on."""

from __future__ import annotations

import queue
import random
from types import SimpleNamespace
from typing import Any

import pytest

from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.budget import Budget
from agent.pipeline.claims import Granted
from agent.pipeline.intake import RETRY_S, Intake
from agent.pipeline.messages import Answer, Arrived, ClaimRequest
from agent.pipeline.work import Lane, Work
from agent.settings import Kafka
from agent.sources.base import Unreadable
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.offsets import Claim

FRAMES, SIZE = 8, 100


class Watched(MemorySource):
    """Counts its polls, and does not wait in them."""

    polls = 0
    damaged: int | None = None  # a partition whose next record cannot be read
    tries = 0

    def poll(self, timeout_s: float, max_records: int) -> Any:
        self.polls += 1
        if self.damaged is not None and (place := self._places.get(self.damaged)) and not place.paused:
            self.tries += 1
            place.paused = True
            self._events.append(Unreadable(self.damaged, place.place.offset, "torn"))
        return super().poll(0.0, max_records)

    @property
    def paused(self) -> bool:
        return self._places[0].paused


class Driven:
    """An intake over a log in memory, whose claims are granted and whose frames wait in their windows."""

    def __init__(self, partitions: int = 1, limit: int = 1 << 20, *, auto: bool = True) -> None:
        self.log, self.taken = MemoryLog(partitions=partitions), list[Work]()
        self.source, self.budget = Watched(self.log, auto=auto), Budget(FRAMES, limit)
        recorder: Any = SimpleNamespace(inbox=queue.SimpleQueue(), answers=queue.SimpleQueue())
        self._recorder = recorder
        self.now = 0.0
        self.intake = Intake(
            self.source, recorder, self.taken.append, settings=Kafka(max_poll_records=3), budget=self.budget,
            health=Health(), metrics=Metrics(), rng=random.Random(0), monotonic=lambda: self.now,
        )  # fmt: skip
        self.lanes = [Lane(self.log.key, Claim(1, number, 0, 1, "me")) for number in range(partitions)]
        self.source.open()

    def turn(self) -> None:
        self.intake.turn()
        while not self._recorder.inbox.empty():
            match self._recorder.inbox.get_nowait():
                case Arrived(lane, works):
                    for work in works:
                        lane.window.arrive(work.record.offset)
                case ClaimRequest(number, _, _, bounds):
                    for partition in bounds:
                        self._recorder.answers.put(Answer(number, Granted(self.lanes[partition], None)))

    def append(self, count: int, partition: int = 0) -> None:
        for _ in range(count):
            self.log.append(bytes(SIZE), partition=partition)

    def record(self, partition: int = 0) -> None:
        """One frame is in the database."""
        self.lanes[partition].window.pop(1)
        self.budget.give(SIZE)


@pytest.mark.promise(4)
@pytest.mark.parametrize("limit", [1 << 20, 2 * 4 * SIZE])  # bytes: enough for all frames; enough for four as received
def test_a_full_pipeline_pauses_and_polls_on_and_resumes_at_half(limit: int) -> None:
    here = Driven(limit=limit)
    source, budget, taken = here.source, here.budget, here.taken
    here.append(3 * FRAMES)
    for _ in range(3):
        here.turn()
    assert not source.paused
    while not source.paused:
        here.turn()
    most = len(taken)
    # One poll may go beyond the bytes, which are known only once it is read.
    assert most == FRAMES if limit == 1 << 20 else most in range(4, 4 + 3)
    polls = source.polls
    for _ in range(5):
        here.turn()
    assert (source.polls, len(taken)) == (polls + 5, most)

    while source.paused:
        assert not budget.low
        here.record()
        here.turn()
    assert budget.frames > most // 2, "it reads again"
    assert len(taken) > most


@pytest.mark.promise(4)
def test_a_backlog_in_one_partition_keeps_no_other_from_being_read() -> None:
    here = Driven(partitions=2)
    first, second = (lane.window for lane in here.lanes)
    here.append(3 * FRAMES)
    for _ in range(9):
        here.turn()
    backlog = len(first)
    assert FRAMES / 2 <= backlog < FRAMES
    here.append(1, partition=1)
    here.turn()
    assert len(second) == 1

    while len(first) > FRAMES / 4:
        here.turn()
        assert len(first) <= backlog
        here.record()
    here.turn()
    assert len(first) > FRAMES / 4, "it reads again at half"


@pytest.mark.promise(4)
def test_a_partition_taken_over_is_read_as_soon_as_there_is_room_whatever_the_backlog_of_others() -> None:
    here = Driven(partitions=2, auto=False)
    first, second = (lane.window for lane in here.lanes)
    for partition in range(2):
        here.append(9 * FRAMES, partition)
    here.source.assign([0])
    for _ in range(9):
        here.turn()
    assert len(first) == FRAMES
    here.source.assign([1])
    for _ in range(9):
        here.turn()
    assert (len(first), len(second)) == (FRAMES, 0), "full: nothing goes beyond what may be in flight"
    here.record()
    here.turn()
    here.turn()
    assert (len(first), len(second)) == (FRAMES - 1, 1), "the first one is read again at half"
    here.record()
    for _ in range(9):
        here.turn()
    assert (len(first), len(second)) == (FRAMES - 2, 1), "it has its part in flight: now it waits as the others do"
    while here.source.paused:
        here.record()
        here.turn()
    here.turn()
    assert len(second) > 1
    assert here.budget.frames <= FRAMES


@pytest.mark.promise(5, 7)
def test_a_partition_that_cannot_be_read_is_tried_again_and_told_and_keeps_no_other_waiting() -> None:
    here = Driven(partitions=2)
    damaged, other = (lane.window for lane in here.lanes)
    here.append(1)
    here.append(3 * FRAMES, partition=1)
    here.source.damaged = 0
    for _ in range(9):
        here.turn()
    assert here.source.tries == 1
    assert (len(damaged), bool(len(other))) == (0, True)
    here.now = 3 * RETRY_S
    for _ in range(9):
        here.turn()
    assert here.source.tries == 2
    assert here.intake.unreadable(4 * RETRY_S) == {}
    assert here.intake.unreadable(RETRY_S) == {
        "partition:goodpart.frames/0": "partition 0 of goodpart.frames was not read on for 15 s: torn"
    }

    here.source.damaged = None
    here.now = 5 * RETRY_S
    for _ in range(9):
        here.turn()
    assert len(damaged) == 1
    here.now += 1.0
    here.turn()
    assert here.intake.unreadable(0.0) == {}


@pytest.mark.promise(4)
def test_a_partition_that_cannot_be_read_is_not_tried_on_and_on_while_the_others_are_full() -> None:
    here = Driven(partitions=2)
    here.append(1)
    here.append(3 * FRAMES, partition=1)
    here.source.damaged = 0
    for turn in range(20):
        here.turn()
        if turn % 2:
            here.record(1)
    assert here.source.tries == 1


@pytest.mark.promise(5, 8)
def test_a_partition_without_a_leader_is_told_and_keeps_no_other_from_being_claimed() -> None:
    here = Driven(partitions=3)
    here.log.leaderless = {1}
    for partition in range(3):
        here.append(1, partition)
    for _ in range(9):
        here.turn()
    assert [len(lane.window) for lane in here.lanes] == [1, 0, 1]
    assert here.intake.claimed == (0, 2)
    here.now = 70.0
    here.turn()
    (told,) = here.intake.leaderless(60.0).values()
    assert "partition 1 of goodpart.frames was not read on for 70 s: no broker that leads it" in told
    assert here.intake.unreadable(0.0) == {}, "a restart would stop the others, and not help this one"

    here.log.leaderless.clear()
    here.now = 80.0
    for _ in range(9):
        here.turn()
    assert [len(lane.window) for lane in here.lanes] == [1, 1, 1]
    here.now = 90.0
    here.turn()
    assert here.intake.leaderless(0.0) == {}
