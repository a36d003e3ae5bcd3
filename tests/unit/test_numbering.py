"""What the numbers of one camera's frames say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline.numbering import Numbering


@given(numbers=st.sets(st.integers(0, 200), min_size=1))
def test_what_is_missing_between_rising_numbers_is_counted(numbers: set[int]) -> None:
    numbering = Numbering()
    jumps = [jump for number in sorted(numbers) if (jump := numbering.count(number))]
    assert sum(jump.missed for jump in jumps) == max(numbers) - min(numbers) + 1 - len(numbers)
    assert all(jump.missed > 0 and jump.last in numbers for jump in jumps)


def test_a_camera_that_begins_anew_has_lost_nothing() -> None:
    numbering = Numbering()
    told = [numbering.count(number) for number in (7, 8, 1, 2, 5, 5, 5, 5, 6, 6)]
    assert [None if jump is None else jump.missed for jump in told] == [
        None, None, 0, None, 2, 0, None, None, None, 0,
    ]  # fmt: skip
