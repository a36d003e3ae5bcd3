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
from agent.pipeline.intake import Intake
from agent.pipeline.record import Answer, Arrived, ClaimRequest
from agent.pipeline.work import Lane, Work
from agent.settings import Kafka
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.offsets import Claim

FRAMES, SIZE = 8, 100


class Watched(MemorySource):
    """Counts its polls, and does not wait in them."""

    polls = 0

    def poll(self, timeout_s: float, max_records: int) -> Any:
        self.polls += 1
        return super().poll(0.0, max_records)

    @property
    def paused(self) -> bool:
        return self._places[0].paused


@pytest.mark.promise(4)
@pytest.mark.parametrize("limit", [1 << 20, 2 * 4 * SIZE])  # bytes: enough for all frames; enough for four as received
def test_a_full_pipeline_pauses_and_polls_on_and_resumes_at_half(limit: int) -> None:
    log, taken = MemoryLog(), list[Work]()
    source, budget = Watched(log), Budget(FRAMES, limit)
    recorder: Any = SimpleNamespace(inbox=queue.SimpleQueue(), answers=queue.SimpleQueue())
    intake = Intake(
        source, recorder, taken.append, settings=Kafka(max_poll_records=3), budget=budget, health=Health(),
        metrics=Metrics(), rng=random.Random(0),
    )  # fmt: skip
    for _ in range(3 * FRAMES):
        log.append(bytes(SIZE))
    source.open()
    intake.turn()
    intake.turn()
    request = recorder.inbox.get_nowait()
    assert isinstance(request, ClaimRequest)
    recorder.answers.put(Answer(request.number, Granted(Lane(log.key, Claim(1, 0, 0, 1, "me")), None)))
    intake.turn()
    assert not source.paused
    while not source.paused:
        intake.turn()
    most = len(taken)
    # One poll may go beyond the bytes, which are known only once it is read.
    assert most == FRAMES if limit == 1 << 20 else most in range(4, 4 + 3)
    polls = source.polls
    for _ in range(5):
        intake.turn()
    assert (source.polls, len(taken)) == (polls + 5, most)

    while source.paused:
        assert not budget.low
        budget.give(SIZE)
        intake.turn()
    assert budget.frames > most // 2, "it reads again"
    assert len(taken) > most


@pytest.mark.promise(4)
def test_a_backlog_in_one_partition_keeps_no_other_from_being_read() -> None:
    log, taken = MemoryLog(partitions=2), list[Work]()
    source, budget = Watched(log), Budget(FRAMES, 1 << 20)
    recorder: Any = SimpleNamespace(inbox=queue.SimpleQueue(), answers=queue.SimpleQueue())
    intake = Intake(
        source, recorder, taken.append, settings=Kafka(max_poll_records=3), budget=budget, health=Health(),
        metrics=Metrics(), rng=random.Random(0),
    )  # fmt: skip
    lanes = [Lane(log.key, Claim(1, number, 0, 1, "me")) for number in range(2)]

    def turn() -> None:
        intake.turn()
        while not recorder.inbox.empty():
            match recorder.inbox.get_nowait():
                case Arrived(lane, works):
                    for work in works:
                        lane.window.arrive(work.record.offset)
                case ClaimRequest(number):
                    for lane in lanes:
                        recorder.answers.put(Answer(number, Granted(lane, None)))

    for _ in range(3 * FRAMES):
        log.append(bytes(SIZE), partition=0)
    source.open()
    for _ in range(9):
        turn()
    backlog = len(lanes[0].window)
    assert FRAMES / 2 <= backlog < FRAMES
    log.append(bytes(SIZE), partition=1)
    turn()
    assert len(lanes[1].window) == 1

    while len(lanes[0].window) > FRAMES / 4:
        turn()
        assert len(lanes[0].window) <= backlog
        lanes[0].window.pop(1)
        budget.give(SIZE)
    turn()
    assert len(lanes[0].window) > FRAMES / 4, "it reads again at half"
