"""How often names were tried with a wrong password: after a few, the next try of a name has to wait, ever longer.

Names that nobody has count too, so that an answer says nothing of who is known. Kept in the memory of one server:
whoever guesses cannot restart it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock

FREE = 5  # wrong ones before a name has to wait
LONGEST = timedelta(minutes=15)
MOST = 10_000  # names remembered, the latest


class Tries:
    """Of all names. Many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._failed: dict[str, tuple[int, datetime]] = {}

    def begin(self, name: str, now: datetime) -> timedelta:
        """How long this name has to wait; zero: it may be tried.

        The try counts as a wrong one from here on, so that of many at once no more are looked at than one by one.
        """
        with self._lock:
            n, last = self._failed.get(name, (0, now))
            if n >= FREE and (end := last + min(timedelta(seconds=2 ** min(n - FREE, 30)), LONGEST)) > now:
                return end - now
            self._failed.pop(name, None)
            self._failed[name] = n + 1, now
            if len(self._failed) > MOST:
                del self._failed[next(iter(self._failed))]
            return timedelta()

    def forget(self, name: str) -> None:
        """It was the right one."""
        with self._lock:
            self._failed.pop(name, None)
