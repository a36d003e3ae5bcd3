"""Frames whose picture is not there yet: they come back a little later, and keep no thread from other frames."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from agent.pipeline.work import Work

PAUSE_S = 0.25


class Later:
    """Hands work back after a pause, in the order in which it came.

    Args:
        back: takes it; must not wait.
    """

    def __init__(self, back: Callable[[Work], None], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._back = back
        self._monotonic = monotonic
        self._waiting: deque[tuple[float, Work]] = deque()
        self._changed = threading.Condition()
        self._ended = False

    def put(self, work: Work) -> None:
        """Takes a frame for a pause."""
        with self._changed:
            self._waiting.append((self._monotonic() + PAUSE_S, work))
            self._changed.notify_all()

    def end(self) -> None:
        """Ends the loop; what waits is read again at the next start."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def run(self) -> None:
        """The thread's loop."""
        with self._changed:
            while not self._ended:
                left = self._waiting[0][0] - self._monotonic() if self._waiting else None
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self._back(self._waiting.popleft()[1])
