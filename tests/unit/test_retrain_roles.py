from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.retrain.errors import TooFewImages
from agent.retrain.roles import LARGE, LEAST_TRAIN, check_enough, needs, role_of, shares
from model.statistics import best_rate, look_delta, smallest_n


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (499, {"train": 0.60, "calibration": 0.40}),
        (LARGE, {"train": 0.60, "calibration": 0.25, "holdout": 0.15}),
    ],
)
def test_proportions(images: int, expected: dict[str, float]) -> None:
    n = 20_000
    found = Counter(role_of(b"secret", f"part-{i}", shares(images), {}) for i in range(n))
    assert set(found) == set(expected)
    for role, share in expected.items():
        assert abs(found[role] / n - share) < 4 * (share * (1 - share) / n) ** 0.5


@given(st.binary(min_size=1, max_size=32), st.text(min_size=1))
def test_a_role_depends_on_secret_and_part_alone(secret: bytes, key: str) -> None:
    divided = shares(100)
    assert role_of(secret, key, divided, {}) == role_of(secret, key, divided, {})


@given(st.text(min_size=1), st.sampled_from(["train", "calibration", "holdout"]), st.integers(1, 1000))
def test_a_first_role_sticks(key: str, first: str, images: int) -> None:
    assert role_of(b"secret", key, shares(images), {key: first}) == first


def test_another_secret_draws_other_roles() -> None:
    keys = [f"part-{i}" for i in range(100)]
    one, other = ([role_of(secret, key, shares(100), {}) for key in keys] for secret in (b"one", b"other"))
    assert one != other


def test_needs_are_those_of_a_certificate_with_two_thresholds() -> None:
    wanted = needs(0.05, 0.95)
    assert wanted.asked == 82  # model.md
    assert needs(0.01, 0.95).asked == 417
    delta = look_delta(0.05, 1) / 2
    assert best_rate(wanted.least, delta) < 0.5 <= best_rate(wanted.least - 1, delta)
    assert wanted.asked == smallest_n(0.05, delta)
    assert wanted.good_images(82) == 205


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
