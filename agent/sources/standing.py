"""Partitions whose reading stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class Standing:
    """Remembers since when each partition's position has been what it is. Not thread-safe.

    Args:
        after_s: a position unchanged for so many seconds stands still.
    """

    def __init__(self, after_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._after_s, self._monotonic = after_s, monotonic
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Takes the positions of what is being read; returns those that stand still, each once in `after_s`."""
        now, before = self._monotonic(), self._since
        self._since = {
            partition: before[partition] if before.get(partition, (None,))[0] == position else (position, now)
            for partition, position in positions.items()
        }
        still = {one: position for one, (position, since) in self._since.items() if now - since >= self._after_s}
        self._since |= {one: (position, now) for one, position in still.items()}
        return still
