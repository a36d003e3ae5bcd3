"""Alarms that end in the database and in the log: taken at once, written by a thread of their own."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.base import EVENTS, KINDS, Level
from agent.metrics import Metrics
from agent.phrases import kept
from agent.store import alerts
from agent.store.alerts import Alert
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.rows import chunks

log = structlog.get_logger()
MOST = 1000  # kinds and subjects that wait to be written
TOGETHER = 50  # of them in one transaction: the recorder writes, too
COUNT_S = 10.0  # how often the gauge of open alerts is renewed
LONGEST_S = 5.0  # between two attempts during an outage
LINES, LINES_S = 6, 600.0  # log lines of one kind and subject in so many seconds
Key = tuple[str, str]  # kind, subject


@dataclass(frozen=True, slots=True)
class _Said:
    """What was said of one kind and subject since it was last written: raised n times since `at`, then over or not."""

    n: int
    at: datetime
    over_at: datetime | None = None
    words: str = ""
    level: Level = "warning"
    detail: Mapping[str, Any] | None = None

    def then(self, later: _Said) -> _Said:
        """Both: all the counts, the newest words; an end that was followed by another beginning was none."""
        if not later.n:
            return replace(self, over_at=later.over_at)
        return replace(later, n=self.n + later.n, at=self.at if self.n else later.at)


class AlertWriter:
    """The agent's `Alarms`. Nothing is forgotten while the database is away.

    A crash loses what waits. What lasts is said again by whoever finds it so; a `breaker` whose engine works again is
    not. A `data_gap` after which the agent goes on does not wait here: it is written with the claim that found it; nor
    does a `sequence_gap`: it is written with the frame that shows it.

    Args:
        engine: the database.
        metrics: shows how many are open, by kind.
        clock: the time.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._metrics, self._clock = engine, metrics, clock
        self._lines = _Lines(monotonic)
        self._changed = threading.Condition()
        self._pending: dict[Key, _Said] = {}
        self._in_hand: dict[Key, _Said] = {}
        self._ended = False
        self._full = self._away = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def raised(self, kind: str, subject: str, words: str, *, level: Level = "warning", **detail: object) -> None:
        self._say((kind, subject), _Said(1, self._clock(), None, words, level, detail))

    def cleared(self, kind: str, subject: str) -> None:
        now = self._clock()
        self._say((kind, subject), _Said(0, now, over_at=now))

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes what waits and ends; what cannot be written in time is logged."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._changed:
            left = [f"{kind} {subject}" for kind, subject in [*self._in_hand, *self._pending]]
        if left:
            log.error("alerts_not_written", alerts=left[:20], n=len(left))

    def write(self) -> bool:
        """Writes what waits; False where the database is away. What the thread does whenever something was said."""
        with self._changed:
            self._in_hand, self._pending = self._pending, {}
            self._full = False
        try:
            for part in chunks(sorted(self._in_hand.items(), key=itemgetter(0)), TOGETHER):
                self._store(part)
                for key, _ in part:
                    del self._in_hand[key]
        except StoreError as error:
            self._put_back()
            if not self._away:
                log.warning("alerts_wait", problem=str(error)[:300])
            self._away = True
            return False
        self._away = False
        with suppress(StoreError):
            self._count()
        return True

    def _say(self, key: Key, said: _Said) -> None:
        with self._changed:
            before = self._pending.get(key)
            if before is None and len(self._pending) >= MOST:
                if not self._full:
                    log.error("alerts_left_out", kind=key[0], subject=key[1])
                self._full = True
                return
            self._pending[key] = before.then(said) if before else said
            self._changed.notify_all()

    def _put_back(self) -> None:
        with self._changed:
            earlier, self._in_hand = self._in_hand, {}
            for key, said in self._pending.items():
                earlier[key] = earlier[key].then(said) if key in earlier else said
            self._pending = earlier

    def _run(self) -> None:
        wait_s = 0.0
        while True:
            with self._changed:
                if wait_s:
                    self._changed.wait_for(lambda: self._ended, wait_s)
                else:
                    self._changed.wait_for(lambda: self._ended or self._pending, COUNT_S)
                ended = self._ended
            wait_s = 0.0 if self.write() else min(LONGEST_S, 2 * wait_s or 0.25)
            if ended:
                return

    def _store(self, batch: Sequence[tuple[Key, _Said]]) -> None:
        try:
            with writing(self._engine) as conn:
                done = [_record(conn, key, said) for key, said in batch]
        except StoreError:
            raise
        except Exception as error:  # one that cannot be written must not keep the others
            if len(batch) == 1:
                log.error("alert_lost", kind=batch[0][0][0], subject=batch[0][0][1], error=repr(error)[:300])
                return
            for part in batch:
                self._store([part])
            return
        for one in chain.from_iterable(done):
            if one:
                self._lines.tell(one)

    def _count(self) -> None:
        with reading(self._engine) as conn:
            found = alerts.counts(conn)
        for kind in KINDS | found.keys():
            self._metrics.alerts.labels(kind).set(found.get(kind, 0))


def _record(conn: Connection, key: Key, said: _Said) -> tuple[Alert | None, Alert | None]:
    opened = None
    if said.n:
        detail = {**(said.detail or {}), **kept(said.words)}
        # JSON of PostgreSQL knows no NaN, and no types of ours.
        detail = json.loads(json.dumps(detail, default=str), parse_constant=str)
        opened = alerts.raise_(
            conn, *key, said.words, level=said.level, detail=detail, event=key[0] in EVENTS, n=said.n, now=said.at
        )
    if said.over_at is None or key[0] in EVENTS:
        return opened, None
    return opened, alerts.clear(conn, *key, said.over_at)


class _Lines:
    """One log line for each opening and clearing, but few of what opens and closes all the time."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._told: dict[Key, deque[float]] = {}

    def tell(self, alert: Alert) -> None:
        """Tells of an alert that has just opened, or ended."""
        now = self._monotonic()
        self._told = {key: times for key, times in self._told.items() if times[-1] > now - LINES_S}
        times = self._told.setdefault((alert.kind, alert.subject), deque(maxlen=LINES))
        if len(times) == LINES and times[0] > now - LINES_S:
            return
        times.append(now)
        row = alert.line
        if len(times) == LINES and times[0] > now - LINES_S:
            row["note"] = "opens and ends again and again: further lines are left out for a while"
        if alert.state == "over":
            log.info("alert_over", **row)
        else:
            (log.error if alert.level == "error" else log.warning)("alert_opened", **row, detail=alert.numbers)
