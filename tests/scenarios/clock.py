"""A plant's clock, some days behind the real one, that can be put forward: nobody waits for the end of an audit day.

It runs as fast as the real one and never passes it, so that what a broker says of a record's time stays believable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from unittest import mock

from agent.alerts import flags, lapses
from agent.drift import watch as drift
from agent.pipeline import directory
from agent.retrain import admission, child
from tests.scenarios.child import BEHIND

DAYS = 5
CHILD = "tests.scenarios.child"


class PlantClock:
    """Begins DAYS ago at 08:00 UTC. Called by many threads, put forward by one."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        self._behind = now - datetime.combine(now.date() - timedelta(days=DAYS), time(8), UTC)

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self._behind

    def put_forward(self, span: timedelta) -> None:
        """Skips a span.

        Raises:
            ValueError: it would pass the real clock.
        """
        if span > self._behind:
            raise ValueError(f"{span} would pass the real clock: begin more than {DAYS} days ago")
        self._behind -= span
        os.environ[BEHIND] = str(self._behind.total_seconds())

    def put_to(self, hour: int) -> None:
        """Skips to that hour of the next day."""
        now = self()
        self.put_forward(datetime.combine(now.date() + timedelta(days=1), time(hour), UTC) - now)


@contextmanager
def hurried() -> Iterator[None]:
    """Agents of this process do each second what they do each minute, and their children go by the plant's clock."""
    with (
        mock.patch.multiple(child, JOB=CHILD, CHECKING=CHILD),
        mock.patch.object(admission, "EVERY_S", 1.0),
        mock.patch.object(drift, "EVERY_S", 1.0),
        mock.patch.object(lapses, "EVERY_S", 1.0),
        mock.patch.object(flags, "EVERY_S", 1.0),
        mock.patch.object(directory, "LAPSES_S", 1.0),
        mock.patch.dict(os.environ),
    ):
        yield
