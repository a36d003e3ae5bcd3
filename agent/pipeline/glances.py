"""Glances: now and then a small picture of a station's frame for the live view, whatever becomes of the frame.

Drawn by the clock alone. By score, verdict or audit, a picture would tell what a part is before people have judged it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from agent.live import Glance, Live, glance_of
from agent.pipeline import pictures
from agent.pipeline.work import Work

log = structlog.get_logger()


class Glances:
    """Draws which frames are shown, and shows them. Thread-safe.

    Args:
        live: where to; while it is away, nothing is drawn.
        install_id: whose stations they are.
        every_s: at least so long between two of a station; 0: none at all.
    """

    def __init__(
        self, live: Live, install_id: str, every_s: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._live, self._install_id, self._every_s, self._monotonic = live, install_id, every_s, monotonic
        self._lock = threading.Lock()
        self._next: dict[int, float] = {}  # monotonic seconds, by station id

    def draw(self, work: Work) -> bool:
        """Whether this frame, which has its outcome, is to be shown: the first one that its station is due for."""
        if not self._every_s or work.place is None or work.pixels is None or not self._live.available:
            return False
        now, station_id = self._monotonic(), work.place.station_id
        with self._lock:
            if now < self._next.get(station_id, now):
                return False
            self._next[station_id] = now + self._every_s
        work.glanced = True
        return True

    def show(self, work: Work) -> None:
        """Shows a drawn frame, while it has its pixels; no failure of it is the frame's."""
        if not work.glanced or work.place is None or work.pixels is None:
            return
        try:
            webp = pictures.glance(work.pixels, work.map)
        except Exception as error:  # whatever is wrong with a picture, the line goes on
            log.warning("glance_failed", **work.identity, error=repr(error)[:300], shape=work.pixels.shape)
            return
        glance = Glance(work.event_at, work.map is not None, webp)
        self._live.show(glance_of(self._install_id, work.place.station_id), glance)
