"""When defects are still caught: at least half of them, and no fewer than before but for chance."""

from __future__ import annotations

import pytest

from tests.scenarios.verdicts import Compared


def test_pairs_are_counted() -> None:
    found = Compared.of([(True, True), (True, False), (False, True), (False, False), (True, False)])
    assert found == Compared(total=5, before=3, lost=2, won=1) and found.after == 2


@pytest.mark.parametrize(
    ("total", "before", "after", "lost", "comes"),
    [
        (28, 24, 21, 4, True),  # 6 of 7 before are 24 of 28
        (28, 28, 21, 7, False),
        (28, 24, 16, 8, False),
        (28, 13, 13, 0, False),
        (28, 14, 14, 0, True),
        (28, 15, 14, 12, True),
    ],
)
def test_what_is_still_caught(total: int, before: int, after: int, lost: int, comes: bool) -> None:
    found = Compared(total, before, lost, won=after - before + lost)
    assert found.after == after
    assert found.still_caught == comes
