"""The hot window: rows that only the last days need, the partitions they lie in, and letting them go afterwards.

So do records of what is long over: alerts, commands, dead letters, claims of items, sessions of people.

What is counted stays: rollups by quarter hour, score bins and the counters of each partition are kept for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Engine

from agent.chores import Chore
from agent.settings import Retention
from agent.store import partitions, records, watches
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.rows import delete_oldest
from agent.store.tables import (
    claim,
    idempotency_key,
    inspection,
    lag_minute,
    replay,
    rollup_minute,
    session,
    shadow_score,
    stage_minute,
    storage_hour,
)

log = structlog.get_logger()
AHEAD = 3  # days after today that have their partition
PARTITIONS_EVERY_S = 300.0
PRUNE_EVERY_S = 60.0
KEYS_KEPT = timedelta(days=7)  # a person's act repeated later than this is a new act
SPEED_KEPT = timedelta(days=1)
STORAGE_KEPT = timedelta(days=31)
CLAIMS_KEPT = timedelta(days=1)  # after they ended: of items that somebody opened and left
SESSIONS_KEPT = timedelta(days=7)
TURN_S = 10.0  # of deleting, then the rest waits for the next turn
CHUNK_S = 0.02  # of one transaction, in which SQLite's other writers wait
PAUSE_S = 0.05  # between two, in which they come in: they look again every few milliseconds
FEWEST, MOST = 100, 10_000  # rows of a chunk


def chores(engine: Engine, wanted: Retention) -> list[Chore]:
    """Making partitions and letting go of rows."""
    prune = Chore("prune", PRUNE_EVERY_S, Pruner(engine, wanted))
    if engine.dialect.name != "postgresql":
        return [prune]
    return [Chore("partitions", PARTITIONS_EVERY_S, lambda now: make_partitions(engine, now)), prune]


def make_partitions(engine: Engine, now: datetime) -> None:
    """Makes those missing for today and the next days.

    Raises:
        Unreachable: some could not be made now; frames of those days go to the default partition meanwhile.
    """
    with reading(engine) as conn:
        days = partitions.missing(partitions.all(conn), now.astimezone(UTC).date(), AHEAD)
    problem: Unreachable | None = None
    for day in days:
        try:
            with writing(engine) as conn:
                moved = partitions.add(conn, day)
        except Unreachable as error:
            problem = error
        else:
            log.info("partition_made", day=day.isoformat(), moved=moved)
    if problem:
        raise problem


@dataclass(frozen=True, slots=True)
class Pruner:
    """Lets go of rows older than the window, in transactions so short that the recorder does not feel them.

    Attributes:
        engine: the database.
        wanted: the section [retention].
        monotonic: seconds.
        pause: waits for seconds.
    """

    engine: Engine
    wanted: Retention
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def __call__(self, now: datetime) -> None:
        """Prunes for one turn.

        Raises:
            Unreachable: the database is away or busy; what is left goes at a later turn.
        """
        end = self.monotonic() + TURN_S
        if self.wanted.inspections_days:
            midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            before = midnight - timedelta(days=self.wanted.inspections_days)
            self._drop(before)
            self._delete(inspection.c.event_at, before, end)
            self._delete(replay.c.event_at, before, end)
            with reading(self.engine) as conn:
                over = watches.over(conn, before)
            for watch_id in over:
                of_it = shadow_score.c.watch_id >= watch_id  # with ==, SQLite would read all of them for each chunk
                self._delete(shadow_score.c.watch_id, watch_id + 1, end, of_it)
        if self.wanted.minutes_days:
            self._delete(rollup_minute.c.start, now - timedelta(days=self.wanted.minutes_days), end)
        if self.wanted.records_days:
            before = now - timedelta(days=self.wanted.records_days)
            for one in records.ALL:
                self._delete(one.over_at, before, end, *one.only)
        self._delete(idempotency_key.c.created_at, now - KEYS_KEPT, end)
        self._delete(claim.c.expires_at, now - CLAIMS_KEPT, end)
        for gauge, kept in ((lag_minute, SPEED_KEPT), (stage_minute, SPEED_KEPT), (storage_hour, STORAGE_KEPT)):
            self._delete(gauge.c.start, now - kept, end)
        self._delete(session.c.seen_at, now - SESSIONS_KEPT, end)

    def _drop(self, before: datetime) -> None:
        with reading(self.engine) as conn:
            old = [one for one in partitions.all(conn) if one.end <= before.date()]
        for one in old:
            with writing(self.engine) as conn:
                partitions.drop(conn, one)
            log.info("partition_dropped", partition=one.name)

    def _delete(self, column: sa.Column[Any], before: Any, end: float, *only: sa.ColumnElement[bool]) -> None:
        size, gone = FEWEST, 0
        while self.monotonic() < end:
            with writing(self.engine) as conn:
                began = self.monotonic()  # with the write lock in hand
                n = delete_oldest(conn, column, before, size, *only)
            took = self.monotonic() - began
            gone += n
            if n < size:
                break
            size = next_size(size, took)
            self.pause(PAUSE_S)
        if gone:
            log.info("rows_pruned", table=column.table.name, rows=gone)


def next_size(size: int, took: float) -> int:
    """How many rows the next chunk has, after one that took so many seconds: aims at half of CHUNK_S."""
    return max(FEWEST, min(MOST, int(size * min(2.0, CHUNK_S / 2 / max(took, 1e-6)))))
