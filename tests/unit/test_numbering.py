"""What the numbers of one camera's frames say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline.numbering import Jump, Numbering


def jumps(*numbers: int) -> list[Jump | None]:
    """What is odd about each of these."""
    numbering, found = Numbering(), list[Jump | None]()
    for number in numbers:
        numbering, jump = numbering.then("s1", number)
        found.append(jump)
    return found


@given(numbers=st.sets(st.integers(0, 200), min_size=1))
def test_what_is_missing_between_rising_numbers_is_counted(numbers: set[int]) -> None:
    found = [jump for jump in jumps(*sorted(numbers)) if jump]
    assert sum(jump.missed for jump in found) == max(numbers) - min(numbers) + 1 - len(numbers)
    assert all(jump.missed > 0 and {jump.last, jump.number} <= numbers for jump in found)


def test_a_camera_that_begins_anew_has_lost_nothing() -> None:
    told = jumps(7, 8, 1, 2, 5, 5, 5, 5, 6, 6)
    assert [None if jump is None else jump.missed for jump in told] == [
        None, None, 0, None, 2, 0, None, None, None, 0,
    ]  # fmt: skip
