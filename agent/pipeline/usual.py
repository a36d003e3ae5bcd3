"""Learning what is usual, and telling what is far from it."""

from __future__ import annotations

import math

from agent.store.camera_history import Usual

LEAST = 200  # frames before anything is judged
MEMORY = 100_000  # frames; about a day of one part a second
FAR = 4.0  # standard deviations
_CLIP = 3.0


def learned(usual: Usual | None, value: float, floor: float) -> Usual:
    """With one more value, exponentially weighted once there are MEMORY of them.

    Update of a weighted mean and variance after West (1979). From LEAST on a value counts as at most 3 deviations from
    the mean, so that one odd frame moves little (winsorised).

    A change that is slower than the memory is learned, not noticed.

    Args:
        usual: before; None at the first value.
        value: of a frame that is not suspicious, finite.
        floor: smallest standard deviation believed in, as in `deviations`.
    """
    if usual is None:
        return Usual(1, value, 0.0)
    if usual.n >= LEAST:
        reach = _CLIP * max(math.sqrt(usual.variance), floor)
        value = min(max(value, usual.mean - reach), usual.mean + reach)
    weight = max(1 / (usual.n + 1), 1 / MEMORY)
    delta = value - usual.mean
    return Usual(usual.n + 1, usual.mean + weight * delta, (1 - weight) * (usual.variance + weight * delta * delta))


def deviations(usual: Usual | None, value: float, floor: float) -> float | None:
    """How many standard deviations `value` lies above the mean; None while too little is known.

    By Cantelli's inequality at most 1 in 1 + FAR ** 2 = 17 usual values lies more than FAR above (or below) the mean,
    whatever their distribution; 10 in a row, were frames independent, 1 in 17 ** 10, about 2e12. Frames of one lot are
    not independent: hence `floor`, below which a difference does not matter even if it is real.
    """
    if usual is None or usual.n < LEAST:
        return None
    return (value - usual.mean) / max(math.sqrt(usual.variance), floor)
