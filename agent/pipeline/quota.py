"""How many failed frames may keep their bytes, by station, reason and hour."""

from __future__ import annotations

import threading
from datetime import datetime

from sqlalchemy import Engine

from agent.pipeline.work import Place
from agent.store import kept
from agent.store.engine import reading


class Quota:
    """Counted in the database, so that restarts and other agents do not change it. Thread-safe.

    What this agent took and has not recorded yet is counted beside it: only what several agents have in flight at once,
    of frames that name no registered station or whose station has several partitions, comes on top.
    """

    def __init__(self, engine: Engine, per_hour: int) -> None:
        self._engine = engine
        self._per_hour = per_hour
        self._lock = threading.Lock()
        self._hour: datetime | None = None
        self._used: dict[tuple[str, str], int] = {}

    def take(self, place: Place | None, reason: str, now: datetime) -> bool:
        """Whether one more may be kept; counts it. Once the hour's are used up, the database is not asked again."""
        hour, group = now.replace(minute=0, second=0, microsecond=0), (place.station if place else "", reason)
        with self._lock:
            if hour != self._hour:
                self._hour, self._used = hour, {}
            used = self._used.get(group, 0)
            if used < self._per_hour:
                used = max(used, self._stored(place, reason, hour))
            self._used[group] = used + 1
            return used < self._per_hour

    def _stored(self, place: Place | None, reason: str, hour: datetime) -> int:
        with reading(self._engine) as conn:
            if place is None:
                return kept.of_nobody(conn, reason, hour)
            return kept.of_station(conn, place.station_id, reason, hour)
