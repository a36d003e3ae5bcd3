"""One line of the table, and how a thing is timed."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and its ratio against a peer or ceiling that was measured in the same run."""

    what: str
    figure: float
    unit: str
    against: str
    ratio: float


def per_second(work: Callable[[], object], units: int, *, repeats: int = 5) -> float:
    """Units per second, the median of `repeats` timed calls after one that is not timed."""
    work()
    gc.collect()
    taken = []
    for _ in range(repeats):
        began = perf_counter()
        work()
        taken.append(perf_counter() - began)
    return units / statistics.median(taken)
