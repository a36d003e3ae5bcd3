"""A condition of this process that it looks at again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.alerts.base import Alarms, Level

AGAIN_S = 60.0


class Condition:
    """Says when it begins and ends, and every AGAIN_S while it lasts.

    Where the process dies meanwhile, agent.alerts.watch ends what nobody says any more.
    Not thread-safe.
    """

    def __init__(
        self, alarms: Alarms, kind: str, subject: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._alarms, self._kind, self._subject, self._monotonic = alarms, kind, subject, monotonic
        self._said_at: float | None = None  # None: it is not so

    def look(self, words: str | None, *, level: Level = "warning", **detail: object) -> None:
        """What it is now: `words` where it is so, None where not."""
        now = self._monotonic()
        if words is None:
            if self._said_at is not None:
                self._alarms.cleared(self._kind, self._subject)
            self._said_at = None
        elif self._said_at is None or now - self._said_at >= AGAIN_S:
            self._alarms.raised(self._kind, self._subject, words, level=level, **detail)
            self._said_at = now
