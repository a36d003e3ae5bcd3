"""The relay: each decision reaches the topic before it leaves the outbox, whoever else sends the same partition."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from agent.frame import StreamKey
from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.claims import Granted, claim_all
from agent.pipeline.decisions import event_id
from agent.pipeline.patience import Patience
from agent.pipeline.relay import BATCH, LOOK_S, Relay
from agent.pipeline.stages import Stages
from agent.pipeline.work import Lane
from agent.settings import Kafka
from agent.sources.base import Bounds, Decision
from agent.sources.memory import MemoryDecisions
from agent.store import offsets, outbox
from agent.store.engine import reading, writing
from agent.store.outbox import NewDecision
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")
KEY = StreamKey("c", "t", "frames")


class Slow(MemoryDecisions):
    """A topic whose acknowledgement comes after `meanwhile`."""

    meanwhile: Callable[[], None] | None = None

    def publish(self, decisions: Sequence[Decision]) -> None:
        super().publish(decisions)
        if meanwhile := self.meanwhile:
            self.meanwhile = None
            meanwhile()


def _relay(here: Line, sink: MemoryDecisions, monotonic: Callable[[], float] = time.monotonic) -> Relay:
    health, metrics = Health(), Metrics()
    patience = Patience(health, metrics, threading.Event(), random.Random(0))
    return Relay(
        here.engine, sink, install_id="i", patience=patience, metrics=metrics, health=health,
        stages=Stages(metrics), clock=lambda: NOW, monotonic=monotonic,
    )  # fmt: skip


def _lane(here: Line, holder: str) -> Lane:
    with writing(here.engine) as conn:
        return Lane(KEY, offsets.claim(conn, here.stream_id, 0, holder=holder, start=0, now=NOW))


def _claim(here: Line, holder: str, *, partitions: int = 1) -> Lane:
    """Of the stream that came after KEY's."""
    with writing(here.engine) as conn:
        (granted,) = claim_all(
            conn, replace(KEY, topic_id="new"), {0: Bounds(0, 0)}, partitions=partitions, settings=Kafka(),
            holder=holder, now=NOW, stored_before={}, cuts={}, ends={},
        )  # fmt: skip
    assert isinstance(granted, Granted)
    return granted.lane


def _commit(here: Line, numbers: range, stream_id: int | None = None) -> None:
    with writing(here.engine) as conn:
        stream_id = stream_id or here.stream_id
        outbox.add_all(conn, [NewDecision(stream_id, 0, n, "press-1", b"{}", NOW) for n in numbers])


def _unsent(here: Line) -> int:
    with reading(here.engine) as conn:
        return outbox.depth(conn)


def _sent(sink: MemoryDecisions) -> list[str]:
    return [dict(one.headers)["ce_id"].decode() for one in sink.published]


def _ids(numbers: range) -> list[str]:
    return [event_id("t", 0, number) for number in numbers]


def _rest(relay: Relay, lane: Lane | None = None) -> None:
    """Two turns: one sends, and one finds nothing more to send."""
    if lane:
        relay.wake(lane)
    relay.turn(0)
    relay.turn(0)
    assert relay.wait_clean(0)


@pytest.mark.promise(9)
def test_what_is_committed_one_after_the_other_is_sent_once_and_deleted_together(here: Line) -> None:
    sink = MemoryDecisions()
    relay, lane = _relay(here, sink), _lane(here, "a")
    for number in range(5):
        _commit(here, range(number, number + 1))
        relay.wake(lane)
        relay.turn(0)
        assert _sent(sink) == _ids(range(number + 1))
    assert _unsent(here) == 5
    assert not relay.wait_clean(0)
    _rest(relay)
    assert _unsent(here) == 0
    assert _sent(sink) == _ids(range(5))


@pytest.mark.promise(9)
def test_a_stream_without_a_rest_does_not_pile_up(here: Line) -> None:
    sink = MemoryDecisions()
    relay, lane = _relay(here, sink), _lane(here, "a")
    _commit(here, range(BATCH + 10))
    relay.wake(lane)
    relay.turn(0)
    assert _unsent(here) == 10
    assert _sent(sink) == _ids(range(BATCH + 10))


@pytest.mark.promise(9)
def test_a_relay_that_was_slow_deletes_nothing_that_came_after_what_it_sent(here: Line) -> None:
    """The next owner has sent and deleted the same decisions by then, and SQLite gave their ids to new ones."""
    slow, sink = Slow(), MemoryDecisions()
    old, new = _relay(here, slow), _relay(here, sink)
    before = _lane(here, "a")
    _commit(here, range(3))
    after = _lane(here, "b")

    def take_over() -> None:
        _rest(new, after)
        assert _unsent(here) == 0
        _commit(here, range(3, 6))

    slow.meanwhile = take_over
    _rest(old, before)
    assert _sent(slow) == _sent(sink) == _ids(range(3))
    assert _unsent(here) == 3
    _rest(new, after)
    assert _sent(sink) == _ids(range(6))
    assert _unsent(here) == 0


@pytest.mark.promise(9)
def test_what_is_committed_on_a_former_stream_after_the_claim_is_sent_at_the_next_look(here: Line) -> None:
    seconds, sink = 0.0, MemoryDecisions()
    relay = _relay(here, sink, lambda: seconds)
    with writing(here.engine) as conn:
        old = offsets.stream_id(conn, KEY, NOW)
    lane = _claim(here, "a", partitions=2)
    relay.own(lane)
    _commit(here, range(1), lane.claim.stream_id)
    _rest(relay, lane)
    assert _sent(sink) == [event_id("new", 0, 0)]
    _commit(here, range(3), old)
    with writing(here.engine) as conn:  # the new log has no partition 2 or 3
        outbox.add_all(conn, [NewDecision(old, number, 7, "press-1", b"{}", NOW) for number in (2, 3)])
    _rest(relay)
    assert len(_sent(sink)) == 1
    for _ in range(2):
        seconds += LOOK_S
        _rest(relay)
        assert _sent(sink)[1:] == [*_ids(range(3)), event_id("t", 2, 7)]
        assert _unsent(here) == 1
    relay.disown(lane)
    _commit(here, range(3, 4), old)
    seconds += LOOK_S
    _rest(relay)
    assert _unsent(here) == 2


@pytest.mark.promise(9)
def test_who_lost_a_partition_sends_no_more_of_what_its_older_streams_left(here: Line) -> None:
    with writing(here.engine) as conn:
        old = offsets.stream_id(conn, KEY, NOW)
    _commit(here, range(BATCH + 3), old)
    slow, sink = Slow(), MemoryDecisions()
    first, before = _relay(here, slow), _claim(here, "a")

    def lost() -> None:
        before.dropped = True

    slow.meanwhile = lost
    first.own(before)
    _rest(first)
    assert _sent(slow) == _ids(range(BATCH))
    second, after = _relay(here, sink), _claim(here, "b")
    _commit(here, range(2), after.claim.stream_id)
    second.own(after)
    _rest(second)
    assert _sent(sink) == [*_ids(range(BATCH, BATCH + 3)), event_id("new", 0, 0), event_id("new", 0, 1)]
    assert _unsent(here) == 0
