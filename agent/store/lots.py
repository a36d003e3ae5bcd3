"""Lots in trends: as many a day as a person can look through; what is beyond them is summed as one."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.score_bins import day_of
from agent.store.tables import rollup_quarter

REST = "*"
DAYS = 16  # remembered: frames are at most a week old


class Lots:
    """Which lots of a plant day have sums of their own. For one thread; agents beside it may add as many again each.

    Args:
        most: of one day, over all stations.
        timezone: the plant's, in which days are cut.
    """

    def __init__(self, most: int, timezone: tzinfo) -> None:
        self._most = most
        self._timezone = timezone
        self._known: dict[date, set[str]] = {}

    def summed(self, conn: Connection, lot: str | None, event_at: datetime) -> str:
        """Under which name a frame's lot is summed: its own, REST beyond the most, "" where it has none."""
        if not lot:
            return ""
        day = day_of(event_at, self._timezone)
        if day not in self._known:
            self._known[day] = self._stored(conn, day)
            if len(self._known) > DAYS:
                del self._known[min(self._known)]
        known = self._known.get(day, set())
        if lot not in known:
            if len(known) >= self._most:
                return REST
            known.add(lot)
        return lot

    def _stored(self, conn: Connection, day: date) -> set[str]:
        row, midnight = rollup_quarter.c, datetime.combine(day, time(), self._timezone)
        query = sa.select(row.lot).where(row.start >= midnight, row.lot.not_in(("", REST))).distinct()
        if day < date.max:
            query = query.where(row.start < datetime.combine(day + timedelta(days=1), time(), self._timezone))
        return set(conn.execute(query).scalars())
