"""The relay: sends the outbox of this agent's partitions, in offset order, at least once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from agent.failpoints import passing
from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline import decisions
from agent.pipeline.patience import Patience
from agent.pipeline.stages import Stages
from agent.pipeline.work import Lane
from agent.sources.base import Decisions
from agent.store import outbox
from agent.store.engine import reading, writing

log = structlog.get_logger()
BATCH = 256
WAKE_S = 1.0
REST_S = 0.05  # without a commit; until then what was acknowledged waits, to be deleted in one transaction
LOOK_S = 5.0  # between two looks for what is left of a partition's former streams


class Relay:
    """Publishes committed decisions at once, and deletes them after they are acknowledged.

    It deletes when a BATCH is acknowledged or nothing more comes for REST_S: SQLite's writers take turns, and the
    recorder's shall not be long in coming. What is not deleted at a crash is sent again.
    A partition's leftovers come first: owning it wakes the relay too. Those of its former streams are looked for again
    and again: who read them may still finish frames of them, which no claim of the new stream fences, and then die.
    Any thread may call `own`, `wake` and `disown`.
    """

    def __init__(
        self,
        engine: Engine,
        sink: Decisions,
        *,
        install_id: str,
        patience: Patience,
        metrics: Metrics,
        health: Health,
        stages: Stages,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._sink = sink
        self._install_id = install_id
        self._patience = patience
        self._metrics = metrics
        self._health = health
        self._stages = stages
        self._clock = clock
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._owned: dict[Lane, None] = {}
        self._look_at = 0.0  # monotonic seconds
        self._due: dict[Lane, None] = {}  # lanes with something to send, in the order in which it was committed
        self._acknowledged: Counter[Lane] = Counter()  # decisions to be deleted
        self._wakes = 1
        self._clean = 0  # the number of wakes at the start of the last turn that left nothing
        self._ended = False

    def own(self, lane: Lane) -> None:
        """The lane was claimed: what is left of it and of its former streams is sent from here."""
        with self._changed:
            self._owned[lane] = None
            self._look_at = 0.0
        self.wake(lane)

    def wake(self, lane: Lane) -> None:
        """Something was committed on the lane."""
        with self._changed:
            self._due[lane] = None
            self._wakes += 1
            self._changed.notify_all()

    def disown(self, lane: Lane) -> None:
        """Its next owner sends what is left."""
        with self._changed:
            self._owned.pop(lane, None)
            self._due.pop(lane, None)

    def wait_clean(self, timeout_s: float) -> bool:
        """Waits until everything committed so far is sent."""
        with self._changed:
            return self._changed.wait_for(lambda: self._clean == self._wakes, timeout_s)

    def end(self) -> None:
        """Ends the loop after its present pass."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def run(self) -> None:
        """The thread's loop.

        Raises:
            AbandonedError: the agent stops at once.
        """
        while not self._ended:
            self._health.tick("relay", within_s=60)
            self.turn()
        self._health.forget("relay")
        self._sink.close()

    def turn(self, wait_s: float = WAKE_S) -> None:
        """Sends what was committed since the last turn; waits for that at most `wait_s`. Raises what `run` does."""
        owned: Collection[Lane] = ()
        with self._changed:
            self._changed.wait_for(self._wanted, min(wait_s, REST_S) if self._acknowledged else wait_s)
            if self._ended:
                return
            started, lanes, self._due = self._wakes, self._due, {}
            if self._monotonic() >= self._look_at:
                owned, self._look_at = [*self._owned], self._monotonic() + LOOK_S
        self._send_left(owned)
        for lane in lanes:
            self._send_all(lane, lane)
        if not lanes:
            self._forget()
        if not self._acknowledged:
            with self._changed:
                self._clean = started
                self._changed.notify_all()

    def _wanted(self) -> bool:
        return self._ended or bool(self._due) or (self._clean != self._wakes and not self._acknowledged)

    def _send_left(self, owned: Collection[Lane]) -> None:
        for owner, former in self._patience.call(lambda: self._left(owned), "database") if owned else ():
            self._send_all(former, owner)
            self._forget()  # the next look finds what it finds, whoever sent it

    def _send_all(self, lane: Lane, owner: Lane) -> None:
        more = True
        while more and not owner.dropped and not self._ended:
            found = self._patience.call(lambda: self._read(lane), "database")
            more = len(found) == BATCH  # what is committed from now on wakes us again
            if not found:
                break
            passing("outbox.read")
            messages = [decisions.message(one, stream=lane.key.topic_id, install_id=self._install_id) for one in found]
            self._patience.call(lambda messages=messages: self._sink.publish(messages), "broker")  # type: ignore[misc]
            passing("outbox.published")
            lane.sent = found[-1].offset + 1
            self._acknowledged[lane] += len(found)
            self._metrics.published.inc(len(found))
            self._measure(found)
            if self._acknowledged.total() >= BATCH:
                self._forget()

    def _measure(self, sent: Sequence[outbox.Decision]) -> None:
        now = self._clock()
        for one in sent:
            self._stages.took("decision", (now - one.created_at).total_seconds())

    def _forget(self) -> None:
        if self._acknowledged:
            self._patience.call(self._delete, "database")
            self._acknowledged.clear()
            passing("outbox.deleted")

    def _left(self, owned: Collection[Lane]) -> list[tuple[Lane, Lane]]:
        with reading(self._engine) as conn:
            return [(owner, former) for owner in owned for former in _former(conn, owner)]

    def _read(self, lane: Lane) -> list[outbox.Decision]:
        with reading(self._engine) as conn:
            return outbox.batch(conn, lane.claim.stream_id, lane.partition, lane.sent, BATCH)

    def _delete(self) -> None:
        with writing(self._engine) as conn:
            for lane in self._acknowledged:
                outbox.delete(conn, lane.claim.stream_id, lane.partition, lane.sent)


def _former(conn: Connection, owner: Lane) -> list[Lane]:
    """Streams with decisions left that no log has any more: whoever has their partition now owes them.

    Those of a partition beyond the log's are shared out among the ones that there are.
    """
    n, claim = owner.partitions, owner.claim
    return [
        Lane(key, replace(claim, stream_id=stream_id, partition=partition))
        for (stream_id, partition), key in outbox.left_behind(conn, owner.key.topic, claim.stream_id).items()
        if (partition % n if n else partition) == owner.partition
    ]
