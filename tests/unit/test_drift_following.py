"""Parts and streams of a drift watch: the same however frames are divided, paused after an alarm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drift.following import CALM, PAUSE, Following
from agent.drift.parts import TOGETHER, Part, joined
from agent.store.drift import Frame, Kept, Position, odds
from model.statistics import Drift
from tests.databases import NOW

REFERENCE = np.random.default_rng(1).normal(size=150)
SECOND = timedelta(seconds=1)


def frame(seconds: float, score: float | None, serial: str | None = None) -> Frame:
    return Frame(Position(NOW + seconds * SECOND, 1, 0, int(seconds)), 1, serial, score, 0.5)


def begin(stream: int) -> Drift:
    return Drift.begin(REFERENCE, alpha=0.01, seed=5, stream=stream)


def new(unit: str = "part") -> Following:
    return Following(begin(1), unit, {}, NOW)


def stored(state: Following) -> Following:
    """As it comes back from its row."""
    row = json.loads(json.dumps(state.to_row(), default=str))
    times = {"began_at": state.began_at, "alarmed_at": state.alarm and state.alarm.at}
    return Following.from_row(Kept(product_id=1, station_id=1, deployment_id=1, epoch_id=1, **{**row, **times}))


def test_a_part_is_all_frames_of_its_serial_and_scores_as_its_highest() -> None:
    gap = TOGETHER.total_seconds()
    frames = [
        frame(0, 1.0, "a"), frame(1, 3.0, "a"), frame(2, 5.0), frame(3, None, "a"), frame(4, 2.0, "b"),
        frame(6, 2.0, "a"), frame(7 + gap, 9.0, "c"), frame(8 + gap, 1.0, "a"),
    ]  # fmt: skip
    whole, rest = joined({}, frames, "part")
    assert [part.score for part in whole] == [5.0, 2.0, 3.0], "the one without a serial is whole at once"
    assert rest == {"c": Part(NOW + (7 + gap) * SECOND, 9.0), "a": Part(NOW + (8 + gap) * SECOND, 1.0)}
    whole, rest = joined({}, frames, "frame")
    assert [part.score for part in whole] == [1.0, 3.0, 5.0, 2.0, 2.0, 9.0, 1.0] and not rest


@settings(deadline=None)
@given(
    gaps=st.lists(st.tuples(st.integers(0, 15), st.sampled_from([None, "a", "b", "c"])), max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=5),
)
def test_parts_are_the_same_however_frames_are_divided(gaps: list[tuple[int, str | None]], cuts: list[int]) -> None:
    times = np.cumsum([gap for gap, _ in gaps]).tolist()
    frames = [frame(at, float(n), serial) for n, (at, (_, serial)) in enumerate(zip(times, gaps, strict=True))]
    whole, rest = joined({}, frames, "part")
    found: list[Part] = []
    still: dict[str, Part] = {}
    for batch in divided(frames, cuts):
        more, still = joined(still, batch, "part")
        found += more
    assert (found, list(still.items())) == (whole, list(rest.items()))


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(0, 1500), max_size=5), seed=st.integers(0, 20), hours=st.sampled_from([0, 20]))
def test_a_watch_ends_the_same_however_often_it_is_put_down(cuts: list[int], seed: int, hours: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=1500) + np.repeat([0, 2, 2], 500)
    serials = [None if n % 3 else f"p{n // 7}" for n in range(1500)]
    # The drift goes on; the last third comes after a night.
    frames = [
        frame(n + (3600 * hours if n >= 1000 else 0), float(score), serial)
        for n, (score, serial) in enumerate(zip(scores, serials, strict=True))
    ]
    whole, parts = new().take(frames, begin), new()
    for batch in divided(frames, cuts):
        parts = stored(parts.take(batch, begin))
    assert whole.watch.stream == (2 if hours else 1), "within the pause nothing begins anew"
    assert (parts.watch.n, parts.watch.counts, parts.watch.stream) == (
        whole.watch.n, whole.watch.counts, whole.watch.stream,
    )  # fmt: skip
    assert (parts.open, parts.began_at) == (whole.open, whole.began_at)
    assert parts.watch.log_e == pytest.approx(whole.watch.log_e)
    assert whole.alarm and parts.alarm and (parts.alarm.at, parts.alarm.n) == (whole.alarm.at, whole.alarm.n)


def divided(frames: Sequence[Frame], cuts: Iterable[int]) -> list[Sequence[Frame]]:
    edges = [0, *sorted(min(cut, len(frames)) for cut in cuts), len(frames)]
    return [frames[start:end] for start, end in pairwise(edges)]


def test_after_an_alarm_the_next_stream_begins_some_hours_later_and_ends_it_where_all_is_as_certified() -> None:
    rng = np.random.default_rng(2)
    alarmed = new("frame").take([frame(n, 4.0) for n in range(100)], begin)
    first = alarmed.alarm
    assert first and first.stream == 1 and first.n < 20 and alarmed.watch.n == first.n
    assert stored(alarmed).alarm == first
    night = PAUSE.total_seconds() + 200
    calm = alarmed.take([frame(night + n, rng.normal()) for n in range(CALM - 1)], begin)
    assert (calm.watch.stream, calm.watch.n, calm.alarm) == (2, CALM - 1, first)
    assert calm.began_at == NOW + night * SECOND
    assert calm.take([frame(night + CALM, 0.0)], begin).alarm is None
    again = alarmed.take([frame(night + n, 4.0) for n in range(100)], begin).alarm
    assert again and again.stream == 2 and again.log_e > first.log_e


def test_another_version_s_state_is_refused() -> None:
    row = Kept(1, 1, 1, 1, 1, 0, 0.0, NOW, None, None, {"watch": {}})
    with pytest.raises(ValueError, match="this version"):
        Following.from_row(row)


@pytest.mark.parametrize(("log_e", "said"), [(0, "1 to 1"), (-1, "0.37 to 1"), (5.1, "164 to 1"), (30, "10^13 to 1")])
def test_odds(log_e: float, said: str) -> None:
    assert odds(log_e) == said
