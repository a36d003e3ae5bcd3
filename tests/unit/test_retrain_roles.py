from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.retrain.errors import TooFewImages
from agent.retrain.roles import LARGE, LEAST_TRAIN, assign, check_enough, needs
from model.statistics import best_rate, look_delta, smallest_n


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (10, {"train": 6, "calibration": 4}),
        (499, {"train": 299, "calibration": 200}),
        (LARGE, {"train": 300, "calibration": 125, "holdout": 75}),
        (1, {"train": 1}),
        (0, {}),
    ],
)
def test_proportions(parts: int, expected: dict[str, int]) -> None:
    assert Counter(assign(b"secret", [f"part-{i}" for i in range(parts)], {}, {}).values()) == expected


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40))
def test_proportions_hold_over_many_imports(sizes: list[int]) -> None:
    held: Counter[str] = Counter()
    for batch, size in enumerate(sizes):
        held += Counter(assign(b"secret", [f"{batch}-{i}" for i in range(size)], held, {}).values())
    parts = held.total()
    if parts < LARGE:
        assert abs(held["calibration"] - parts * 0.4) <= 0.5 and not held["holdout"]


@given(st.sets(st.text(min_size=1), max_size=30), st.randoms())
def test_a_draw_does_not_depend_on_the_order(keys: set[str], random: Random) -> None:
    shuffled = sorted(keys)
    random.shuffle(shuffled)
    assert assign(b"secret", shuffled, {}, {}) == assign(b"secret", sorted(keys), {}, {})


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["train", "calibration", "holdout"])), st.sets(st.text()))
def test_a_first_role_sticks(first: dict[str, str], others: set[str]) -> None:
    found = assign(b"secret", sorted(first.keys() | others), {}, first)
    assert found.keys() == first.keys() | others
    assert first.items() <= found.items()


def test_another_secret_draws_other_roles() -> None:
    keys = [f"part-{i}" for i in range(100)]
    assert assign(b"one", keys, {}, {}) != assign(b"other", keys, {}, {})


def test_needs_are_those_of_a_certificate_with_two_thresholds() -> None:
    wanted = needs(0.05, 0.95)
    assert wanted.asked == 82  # model.md
    assert needs(0.01, 0.95).asked == 417
    delta = look_delta(0.05, 1) / 2
    assert best_rate(wanted.least, delta) < 0.5 <= best_rate(wanted.least - 1, delta)
    assert wanted.asked == smallest_n(0.05, delta)
    assert wanted.good_parts(82) == 205


def test_enough_warns_or_refuses_with_the_number_needed() -> None:
    wanted = needs(0.05, 0.95)
    assert check_enough(120, 82, wanted) is None
    warning = check_enough(120, 81, wanted)
    assert warning and "82" in warning
    assert check_enough(LEAST_TRAIN, wanted.least, wanted)
    for train, calibration in ((LEAST_TRAIN, wanted.least - 1), (LEAST_TRAIN - 1, wanted.least), (0, 0)):
        with pytest.raises(TooFewImages, match=f"{wanted.least} are needed") as error:
            check_enough(train, calibration, wanted)
        assert "82" in str(error.value) and "\n" not in str(error.value)
