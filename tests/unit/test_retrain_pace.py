from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytest

from agent.retrain.errors import Cancelled
from agent.retrain.pace import ENOUGH_S, FEWEST, ROUNDS, measure
from agent.retrain.progress import Step
from model.engines import Scored, Scorer
from model.images import Frame

FRAMES = [np.full((1, 1, 3), shade, np.uint8) for shade in range(3)]


class Clock:
    """A time that passes only while a model scores."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[str] = []

    def __call__(self) -> float:
        return self.now


class FakeScorer:
    """Takes the given seconds, call by call; the last for ever."""

    def __init__(self, name: str, clock: Clock, seconds: Sequence[float]) -> None:
        self._name, self._clock, self._left = name, clock, list(seconds)
        self.batches: list[list[int]] = []

    def score(self, frames: Sequence[Frame]) -> list[Scored]:
        self._clock.now += self._left.pop(0) if len(self._left) > 1 else self._left[0]
        self._clock.asked.append(self._name)
        self.batches.append([int(frame[0, 0, 0]) for frame in frames])
        return []


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()


def scorers(clock: Clock, new: Sequence[float], old: Sequence[float]) -> tuple[Scorer, Scorer, FakeScorer]:
    mine, theirs = FakeScorer("new", clock, new), FakeScorer("old", clock, old)
    return cast(Scorer, mine), cast(Scorer, theirs), mine


def test_both_score_the_same_frames_in_turns_at_the_lines_batch(clock: Clock) -> None:
    new, old, mine = scorers(clock, [9.0, 0.2], [9.0, 0.1])
    found = measure(new, old, FRAMES, batch=5, allowed=2.5, clock=clock)
    assert mine.batches == [[0, 1, 2, 0, 1]] * (ROUNDS + 1)
    assert clock.asked == (["new", "old", "old", "new"] * ROUNDS)[: 2 * (ROUNDS + 1)]
    assert (found.rounds, found.batch, found.allowed) == (ROUNDS, 5, 2.5)
    assert [found.challenger_ms, found.champion_ms] == pytest.approx([40.0, 20.0])
    assert found.ratio == pytest.approx(2.0)


def test_what_else_the_machine_does_does_not_decide(clock: Clock) -> None:
    """Most of the challenger's rounds are disturbed, and its median is ten times the champion's."""
    new, old, _ = scorers(clock, [1.0, 1.0, 1.0, 0.1, 1.0], [0.1])
    found = measure(new, old, FRAMES, batch=1, allowed=2.0, clock=clock)
    assert found.challenger_ms == pytest.approx(1000.0) and found.ratio == pytest.approx(1.0)


def test_one_quiet_moment_of_the_champion_alone_does_not_decide(clock: Clock) -> None:
    """The machine is busy in every round but one, and then the champion scored."""
    new, old, _ = scorers(clock, [1.0], [1.0, 1.0, 1.0, 0.1, 1.0])
    assert measure(new, old, FRAMES, batch=1, allowed=2.0, clock=clock).ratio == pytest.approx(1.0)


def test_slow_models_are_measured_in_fewer_rounds(clock: Clock) -> None:
    new, old, _ = scorers(clock, [ENOUGH_S], [ENOUGH_S])
    assert measure(new, old, FRAMES, batch=1, allowed=2.0, clock=clock).rounds == FEWEST


@pytest.mark.parametrize(("quiet", "rounds", "ratio"), [(5, FEWEST + 2, 1.0), (99, ROUNDS, 3.0)])
def test_what_seems_too_slow_is_measured_on(clock: Clock, quiet: int, rounds: int, ratio: float) -> None:
    """The challenger's rounds are disturbed at first, or it is slow indeed."""
    new, old, _ = scorers(clock, [9.0] * quiet + [3.0], [3.0])
    found = measure(new, old, FRAMES, batch=1, allowed=2.0, clock=clock)
    assert found.rounds == rounds and found.ratio == pytest.approx(ratio)


def test_a_run_that_was_ended_is_not_measured_to_the_end(clock: Clock) -> None:
    new, old, mine = scorers(clock, [0.1], [0.1])
    heard: list[Step] = []

    def hear(step: Step) -> None:
        heard.append(step)
        if len(heard) == 2:
            raise Cancelled("ended")

    with pytest.raises(Cancelled):
        measure(new, old, FRAMES, batch=1, allowed=2.0, on_progress=hear, clock=clock)
    assert len(mine.batches) == 2 and {(one.phase, one.steps) for one in heard} == {("timing", ROUNDS + 1)}
