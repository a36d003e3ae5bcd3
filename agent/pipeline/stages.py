"""How long frames take in each stage, waiting for it included: where a slow line loses its time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.metrics import Metrics
from agent.pipeline.work import Work
from agent.store import speed
from agent.store.engine import writing
from agent.store.errors import StoreError
from agent.store.speed import STAGES, Bin, Place, bin_of

log = structlog.get_logger()


class Stages:
    """Counts times until they are noted. Thread-safe; each frame costs a few microseconds.

    `decode` begins where the frame was read, each further stage where the one before ended; `decision` where the frame
    was recorded, and ends with the acknowledgement of its decision.
    """

    def __init__(self, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._observed = {stage: metrics.stages.labels(stage) for stage in STAGES}
        self._lock = threading.Lock()
        self._counts: Counter[Bin] = Counter()

    def passed(self, stage: str, works: Iterable[Work]) -> None:
        """These frames leave a stage now."""
        now = self._monotonic()
        for work in works:
            self.took(stage, now - work.since)
            work.since = now

    def took(self, stage: str, seconds: float) -> None:
        """A frame took so long in a stage."""
        self._observed[stage].observe(max(0.0, seconds))
        with self._lock:
            self._counts[stage, bin_of(1000 * seconds)] += 1

    def note(self, engine: Engine, lags: Mapping[Place, int], now: datetime) -> None:
        """Records the counts so far, which begin anew, beside the lags; what the database does not take waits."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        if not lags and not counts:
            return
        try:
            with writing(engine) as conn:
                speed.note(conn, lags, counts, now)
        except StoreError as error:
            with self._lock:
                self._counts.update(counts)
            log.warning("speed_not_noted", problem=str(error)[:300])
