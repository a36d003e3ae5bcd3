"""One camera's state machines: good frames never raise, each problem is raised once and cleared once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.demo.defects import KINDS
from agent.demo.render import picture
from agent.pipeline.measures import Measures, measure
from agent.pipeline.station_watch import EQUAL, PROBLEMS, STILL, StationWatch
from agent.pipeline.streak import Streak
from agent.pipeline.usual import LEAST, MEMORY, deviations, learned
from agent.store.camera_history import Usual
from model.images import Frame

BLACK, FROZEN, SATURATED, DEFOCUSED = "camera_black", "camera_frozen", "camera_saturated", "camera_defocused"


@cache
def _parts() -> tuple[Frame, ...]:
    """A camera's good parts, and defective ones: a defect is no fault of the camera."""
    good = [picture(None, 0.0, (21, number))[0] for number in range(24)]
    return (*good, *(picture(kind, 1.0, (22, number))[0] for number, kind in enumerate(KINDS)))


@cache
def _good() -> tuple[Measures, ...]:
    return tuple(measure(part) for part in _parts())


@cache
def _spoiled() -> dict[str, tuple[Measures, ...]]:
    spoil: dict[str, Callable[[Frame], Frame]] = {
        BLACK: lambda part: part // 16,
        SATURATED: lambda part: np.clip(part * 2.5, 0, 255).astype(np.uint8),
        DEFOCUSED: lambda part: np.asarray(cv2.GaussianBlur(part, (0, 0), 2), np.uint8),
        FROZEN: lambda part: _parts()[0],
    }
    return {problem: tuple(measure(change(part)) for part in _parts()[:12]) for problem, change in spoil.items()}


def _watch(*, taught: bool = True) -> StationWatch:
    watch = StationWatch({})
    if taught:
        assert [one for one in _told(watch, _shuffled(LEAST + 50)) if one[1]] == []
    return watch


def _shuffled(count: int, seed: int = 0) -> list[Measures]:
    """Good frames, none after itself."""
    rng, found = random.Random(seed), [_good()[-1]]
    while len(found) <= count:
        found.append(rng.choice([one for one in _good() if one is not found[-1]]))
    return found[1:]


def _told(watch: StationWatch, frames: Iterable[Measures], product_id: int = 1) -> list[tuple[str, bool]]:
    return [(change.problem, change.raised) for one in frames for change in watch.look(one, product_id)]


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.integers(1, 30), min_size=1, max_size=400), taught=st.booleans())
def test_no_order_of_good_frames_raises(steps: list[int], taught: bool) -> None:
    """Any of 31 parts after any other one: the same picture again and again, but not twice in a row, is a loop."""
    places = np.cumsum(steps) % len(_good())
    told = _told(_watch(taught=taught), [_good()[place] for place in places])
    assert not [one for one in told if one[1]]
    assert len(told) == len(set(told)), "that all is well is said once"


@settings(max_examples=40, deadline=None)
@given(
    order=st.lists(st.sampled_from(PROBLEMS), min_size=1, max_size=6),
    bad=st.integers(12, 40),
    good=st.integers(12, 40),
)
def test_each_problem_is_raised_once_and_cleared_once(order: Sequence[str], bad: int, good: int) -> None:
    watch = _watch()
    for problem in order:
        frames = [_spoiled()[problem][number % 12] for number in range(bad)]
        assert _told(watch, frames) == [(problem, True)]
        assert _told(watch, _shuffled(good)) == [(problem, False)]


@pytest.mark.parametrize(("problem", "enough"), [(BLACK, 3), (FROZEN, EQUAL + 1), (SATURATED, 10), (DEFOCUSED, 10)])
def test_a_few_bad_frames_are_no_problem(problem: str, enough: int) -> None:
    watch = _watch()
    for _ in range(5):
        assert _told(watch, _spoiled()[problem][: enough - 1]) == []
        assert _told(watch, _shuffled(1)) == []
    assert _told(watch, _spoiled()[problem][:enough]) == [(problem, True)]


def test_black_and_frozen_need_no_history_and_the_others_do() -> None:
    for problem in PROBLEMS:
        told = _told(_watch(taught=False), _spoiled()[problem])
        raised = [one for one, begun in told if begun]
        assert raised == ([problem] if problem in (BLACK, FROZEN) else [])


def test_a_still_part_under_a_noisy_sensor_is_not_frozen_and_one_with_a_clock_is() -> None:
    part = _parts()[3]
    watch, rng = _watch(taught=False), np.random.default_rng(5)
    still = [measure(_jpeg(np.rint(part + rng.normal(0, 0.4, (*part.shape[:2], 1))))) for _ in range(STILL + 10)]
    assert _told(watch, still) == [(BLACK, False), (FROZEN, False)]
    clock = [measure(_jpeg(_written(part, str(second)))) for second in range(STILL + 10)]
    assert _told(watch, clock) == [(FROZEN, True)]


def _jpeg(values: object) -> Frame:
    pixels = np.clip(np.asarray(values), 0, 255).astype(np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _written(part: Frame, text: str) -> Frame:
    return np.asarray(cv2.putText(part.copy(), text, (8, 24), cv2.FONT_HERSHEY_DUPLEX, 0.6, (255, 255, 255)), np.uint8)


def test_pictures_that_are_clipped_all_over_say_nothing_of_freezing() -> None:
    """A backlight without a part, and a cap on the lens, repeat exactly on a camera that works."""
    watch = _watch(taught=False)
    white = measure(np.full((100, 100, 3), 255, np.uint8))
    black = measure(np.zeros((100, 100, 3), np.uint8))
    assert _told(watch, [white] * 20) == [(BLACK, False)]
    assert _told(watch, [black] * 20) == [(BLACK, True)]


def test_a_blurred_camera_is_known_after_a_restart_and_does_not_become_usual() -> None:
    before = _watch()
    after = StationWatch(before.usual)
    blurred = _spoiled()[DEFOCUSED]
    assert (DEFOCUSED, True) in _told(after, blurred)
    assert _told(after, blurred * 40) == []
    usual = before.usual["sharpness/1"]
    assert after.usual["sharpness/1"].n - usual.n < 3
    assert after.usual["sharpness/1"].mean == pytest.approx(usual.mean, abs=0.01)
    assert _told(after, _shuffled(20)) == [(DEFOCUSED, False)]


def test_a_repeat_teaches_nothing() -> None:
    watch = StationWatch({})
    _told(watch, [_good()[0]] * 4 + [_good()[1]] * 3)
    assert {key: usual.n for key, usual in watch.usual.items()} == {"saturation/1": 2, "sharpness/1": 2}


def test_another_product_has_another_history() -> None:
    watch = _watch()
    assert _told(watch, _spoiled()[DEFOCUSED] * 3, product_id=2) == []
    assert {key.partition("/")[2] for key in watch.usual} == {"1", "2"}
    assert _told(watch, _spoiled()[DEFOCUSED]) == [(DEFOCUSED, True)]
    assert _told(watch, _shuffled(LEAST + 50), product_id=2) == [], "another product cannot say that it is over"


def test_another_product_is_learned_and_watched_while_a_problem_is_open() -> None:
    watch = _watch()
    blurred = _spoiled()[DEFOCUSED]
    assert _told(watch, blurred) == [(DEFOCUSED, True)]
    _told(watch, _shuffled(LEAST + 50), product_id=2)
    assert _told(watch, blurred, product_id=2) == [], "open already"
    assert _told(watch, _shuffled(20)) == [], "the second product's frames are blurred by now"
    assert _told(watch, _shuffled(20), product_id=2) == [(DEFOCUSED, False)]


def test_what_a_person_forgot_is_learned_anew() -> None:
    watch = _watch()
    blurred = _spoiled()[DEFOCUSED]
    assert _told(watch, blurred) == [(DEFOCUSED, True)]
    watch.forget()
    told = _told(watch, blurred * 20)
    assert (DEFOCUSED, False) in told
    assert not [one for one in told if one[1]]


@settings(max_examples=60)
@given(seen=st.lists(st.booleans(), max_size=60), bad=st.integers(1, 5), good=st.integers(1, 5))
def test_a_condition_changes_after_so_many_in_a_row(seen: list[bool], bad: int, good: int) -> None:
    condition, state = Streak(bad, good), None
    for number, one in enumerate(seen):
        changed = condition.see(one)
        needed = bad if one else good
        run = seen[max(0, number + 1 - needed) : number + 1]
        new = one if run == [one] * needed else state
        assert (condition.raised, changed) == (new, new is not state)
        state = new


@settings(max_examples=40)
@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=LEAST))
def test_mean_and_variance_are_those_of_the_values(values: list[float]) -> None:
    usual = None
    for value in values:
        usual = learned(usual, value, 0.1)
    assert usual is not None
    assert usual.n == len(values)
    assert usual.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert usual.variance == pytest.approx(np.var(values), abs=1e-9)
    assert (deviations(usual, 0.0, 0.1) is None) == (len(values) < LEAST)


def test_a_full_memory_follows_slowly_and_one_odd_value_moves_nothing() -> None:
    usual = Usual(10 * MEMORY, 1.0, 0.04)
    odd = learned(usual, 1000.0, 0.1)
    assert odd.mean == pytest.approx(1.0 + 0.6 / MEMORY)
    assert deviations(usual, 2.0, 0.1) == pytest.approx(5.0)
    assert deviations(usual, 2.0, 0.5) == pytest.approx(2.0)
