"""The webhook: tells of openings and endings by POST, at least once, one agent at a time, so many a minute at most."""

from __future__ import annotations

import hashlib
import math
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.post import NotTaken
from agent.metrics import Metrics
from agent.store import alerts, leases
from agent.store.alerts import Alert
from agent.store.engine import reading, writing
from agent.store.errors import Fenced, StoreError
from agent.store.leases import Lease
from agent.store.rows import chunks

log = structlog.get_logger()
LOOK_S = 1.0
A_MINUTE = 10  # messages
MINUTE = timedelta(minutes=1)
FIRST_S, LONGEST_S = 5.0, 3600.0  # between two attempts at one message
ATTEMPTS = 33  # 5 s, 10 s, ... 43 min, then 22 hours: about a day
TOGETHER = 50  # alerts of one message at most
READ = A_MINUTE * TOGETHER  # alerts looked at together
LEASE = "alerts.webhook"


class Send(Protocol):
    """As agent.alerts.post.Post."""

    host: str

    def __call__(self, message_id: str, body: Mapping[str, Any]) -> None: ...


class Webhook:
    """Sends what is due, on a thread of its own.

    The sender keeps its lease for a minute after each message, so whoever is next starts with an empty minute.

    Args:
        engine: the database.
        send: takes a message to the other side; raises NotTaken.
        install_id: of this installation; part of a message's id.
        holder: this agent.
        clock: the time.
        rng: the jitter.
        metrics: counts messages.
    """

    def __init__(
        self,
        engine: Engine,
        send: Send,
        *,
        install_id: str,
        holder: str,
        clock: Callable[[], datetime],
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._engine, self._send, self._install_id, self._holder = engine, send, install_id, holder
        self._clock, self._rng, self._metrics = clock, rng, metrics
        self._lease: Lease | None = None
        self._times: deque[datetime] = deque()
        self._down = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Sends no further message, and waits a little for the one at hand."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def send_due(self) -> None:
        """Sends what is due and allowed; what the thread does every second.

        Raises:
            StoreError: the database is away.
        """
        now = self._clock()
        while self._times and self._times[0] <= now - MINUTE:
            self._times.popleft()
        room = A_MINUTE - len(self._times)
        if room < 1:
            return
        with reading(self._engine) as conn:
            due = alerts.due(conn, now, READ)
        for message in _messages(due, room):
            if self._ended.is_set() or not self._deliver(message):
                return

    def _deliver(self, message: Sequence[Alert]) -> bool:
        """Sends some alerts in one message; False where the next one has better wait."""
        now = self._clock()
        name, again_at = message[0].message or _id(self._install_id, message), now + self._pause(message[0].attempts)
        with writing(self._engine) as conn:
            if not self._mine(conn, now):
                return False
            taken = [one for one in message if alerts.take(conn, one, name, again_at)]
        if not taken:
            return True
        self._times.append(now)
        try:
            self._send(name, _body(self._install_id, name, taken))
        except NotTaken as problem:
            self._metrics.webhooks.labels("failed").inc()
            self._failed(taken, problem)
            return problem.final
        self._metrics.webhooks.labels("sent").inc()
        with writing(self._engine) as conn:
            for one in taken:
                alerts.sent(conn, one, now)
        if self._down:
            log.info("webhook_back", host=self._send.host)
        self._down = False
        return True

    def _mine(self, conn: Connection, now: datetime) -> bool:
        if self._lease:
            try:
                self._lease = leases.renew(conn, self._lease, MINUTE, now)
            except Fenced:
                self._lease = None
        self._lease = self._lease or leases.acquire(conn, LEASE, self._holder, MINUTE, now)
        return self._lease is not None

    def _failed(self, taken: Sequence[Alert], problem: NotTaken) -> None:
        over = [one for one in taken if problem.final or one.attempts + 1 >= ATTEMPTS]
        with writing(self._engine) as conn:
            for one in over:
                alerts.give_up(conn, one)
        if over:
            log.error("webhook_gave_up", problem=str(problem), alerts=[one.id for one in over])
        elif not self._down:
            log.warning("webhook_down", problem=str(problem))
        self._down = self._down or not problem.final

    def _pause(self, attempts: int) -> timedelta:
        return timedelta(seconds=min(LONGEST_S, FIRST_S * 2 ** min(attempts, 20)) * (0.5 + self._rng.random()))

    def _run(self) -> None:
        away = False
        while not self._ended.wait(LOOK_S):
            try:
                self.send_due()
                away = False
            except StoreError as error:
                if not away:
                    log.warning("webhook_waits", problem=str(error)[:300])
                away = True
            except Exception as error:  # whatever is wrong with one message, the next look is another chance
                log.error("webhook_failed", error=repr(error)[:300], exc_info=error)


def _messages(due: Sequence[Alert], room: int) -> list[Sequence[Alert]]:
    """At most `room` messages: what was sent together is again; of the rest as many as possible are told alone."""
    fresh = [one for one in due if one.message is None]
    again: dict[str, list[Alert]] = {}
    for one in due:
        if one.message is not None:
            again.setdefault(one.message, []).append(one)
    places = max(0, room - len(again))
    lists = min(places, max(0, math.ceil((len(fresh) - places) / (TOGETHER - 1))))
    alone = places - lists
    return [*again.values(), *([one] for one in fresh[:alone]), *chunks(fresh[alone:], TOGETHER)][:room]


def _id(install_id: str, taken: Sequence[Alert]) -> str:
    """The idempotency id of a message that is new: the same for the same alerts in the same states."""
    parts = [f"{install_id}.{one.id}.{one.state}" for one in taken]
    return parts[0] if len(parts) == 1 else hashlib.sha256(" ".join(sorted(parts)).encode()).hexdigest()


def _body(install_id: str, name: str, taken: Sequence[Alert]) -> dict[str, Any]:
    return {
        "id": name,
        "type": "goodpart.alerts.v1",
        "install": install_id,
        "text": _text(taken),
        "alerts": [_one(install_id, one) for one in taken],
    }


def _text(taken: Sequence[Alert]) -> str:
    if len(taken) == 1:
        (one,) = taken
        return f"{'over: ' if one.closed_at else ''}{one.kind}: {one.words}"
    kinds = Counter(f"{one.kind}{' over' if one.closed_at else ''}" for one in taken)
    return f"{len(taken)} more alerts: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())


def _one(install_id: str, alert: Alert) -> dict[str, Any]:
    return {
        "id": _id(install_id, [alert]),
        "alert": alert.id,
        "state": alert.state,
        "kind": alert.kind,
        "subject": alert.subject,
        "level": alert.level,
        "words": alert.words,
        "detail": alert.numbers,
        "n": alert.n,
        "opened_at": alert.opened_at.isoformat(),
        "closed_at": alert.closed_at.isoformat() if alert.closed_at else None,
        "acknowledged": alert.acknowledged_at is not None,
    }
