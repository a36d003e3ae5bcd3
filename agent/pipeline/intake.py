"""The intake: the one thread that calls the source. It never waits for another thread."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from agent.failpoints import passing
from agent.frame import Record, StreamKey
from agent.health import Health
from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.pipeline.budget import Budget
from agent.pipeline.claims import Early, Granted
from agent.pipeline.gap import Cut, partition_subject
from agent.pipeline.held import Held
from agent.pipeline.messages import Answer, Arrived, ClaimRequest, Gone, Idle, Void
from agent.pipeline.record import Recorder
from agent.pipeline.work import Lane, Work
from agent.settings import Kafka
from agent.sources.base import (
    Assigned,
    Event,
    Lost,
    Outside,
    Revoked,
    Source,
    SourceUnreachableError,
    Unreadable,
)

log = structlog.get_logger()
POLL_S = 0.1
BUSY_POLL_S = 0.01  # while paused or waiting for a claim: look again soon
HOUSEKEEPING_S = 1.0
CERTAIN_S = 5.0  # a log must end before the stored offset for so long before it counts as another one
ALIVE_S = 120.0  # a turn takes that long at most: a client is begun anew in 40 s, and asks for bounds twice
RETRY_S = 5.0  # a batch that cannot be read is asked for again
_OUTAGE_S = 0.2
LEADERLESS = Phrase("no broker that leads it tells the bounds of its log; see which brokers are away")


class Intake:
    """Turns assignments into claims, and records into work.

    Args:
        source: called by this thread only.
        recorder: claims, and keeps the windows.
        forward: takes each new frame; must not wait.
        rng: jitter of repeated claims.
    """

    def __init__(
        self,
        source: Source,
        recorder: Recorder,
        forward: Callable[[Work], None],
        *,
        settings: Kafka,
        budget: Budget,
        health: Health,
        metrics: Metrics,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._forward = forward
        self._settings = settings
        self._budget = budget
        self._health = health
        self._metrics = metrics
        self._rng = rng
        self._monotonic = monotonic
        self._held: dict[int, Held] = {}
        self._number = 0
        self._throttled = False
        self._draining = threading.Event()
        self._drained = threading.Event()
        self._ended = threading.Event()
        self._tidied = 0.0
        self._committed: dict[int, int] = {}
        self.lag: int | None = None
        self.lags: dict[tuple[int, int], int] = {}  # by stream id and partition, as far as they are known

    @property
    def claimed(self) -> tuple[int, ...]:
        """Partitions that are read now."""
        return tuple(sorted(partition for partition, held in list(self._held.items()) if held.lane))

    @property
    def assigned(self) -> tuple[int, ...]:
        """Partitions that the source gave us."""
        return tuple(sorted(self._held))

    def unreadable(self, for_s: float) -> dict[str, Phrase]:
        """What of the claimed partitions cannot be read for so many seconds, and why, by the partition's subject."""
        return self._unread(for_s, claimed=True)

    def leaderless(self, for_s: float) -> dict[str, Phrase]:
        """The same of those that cannot be claimed since no broker leads them."""
        return self._unread(for_s, claimed=False)

    def _unread(self, for_s: float, *, claimed: bool) -> dict[str, Phrase]:
        now, found = self._monotonic(), dict[str, Phrase]()
        for partition, held in list(self._held.items()):
            lane, unread = held.lane, held.unread
            if unread and unread.claimed == claimed and now - unread.since > for_s:
                key = lane.key if lane else StreamKey("", "", self._settings.frames_topic)
                found[partition_subject(key, partition)] = Phrase(
                    "partition {partition} of {topic} was not read on for {seconds:.0f} s: {problem}",
                    partition=partition, topic=key.topic, seconds=now - unread.since, problem=unread.problem,
                )  # fmt: skip
        return found

    def drain(self, timeout_s: float) -> bool:
        """Takes no more frames; membership goes on. True once no frame can come in any more."""
        self._draining.set()
        return self._drained.wait(timeout_s)

    def end(self) -> None:
        """Ends the loop and leaves the source."""
        self._ended.set()

    def run(self) -> None:
        """The thread's loop.

        Raises:
            SourceError: the source cannot be used any more.
        """
        try:
            while not self._ended.is_set():
                self._health.tick("intake", within_s=ALIVE_S, waits=False)
                self.turn()
            self._tidy()
        finally:
            self._health.forget("intake")
            self._source.close()

    def turn(self) -> None:
        """Goes round once: follows the assignment, asks for claims, polls.

        Raises:
            SourceError: the source cannot be used any more.
        """
        self._follow()
        self._take_answers()
        self._ask()
        self._throttle()
        # Everything is paused by now: what this poll hands out, if anything, is the last.
        draining = self._draining.is_set()
        self._poll()
        if draining:
            self._drained.set()
        if self._monotonic() - self._tidied >= HOUSEKEEPING_S:
            self._tidy()

    def _follow(self) -> None:
        for event in self._source.events():
            self._log(event)
            match event:
                case Unreadable(partition, offset, problem):
                    if held := self._held.get(partition):
                        self._put_off(held, offset, problem)
                case Assigned(partitions):
                    self._held |= {partition: Held() for partition in partitions}
                case Revoked(partitions) | Lost(partitions):
                    for partition in partitions:
                        self._held.pop(partition, None)
                    self._recorder.inbox.put(Gone(partitions, isinstance(event, Lost)))
                case Outside(partitions, cut):
                    for partition in partitions & self._held.keys():
                        lane = self._held[partition].lane
                        known = Cut(lane.key, cut[partition]) if lane and partition in cut else None
                        self._held[partition] = Held(ask_at=self._later(), cut=known)

    @staticmethod
    def _log(event: Event) -> None:
        if isinstance(event, Unreadable):
            log.warning("partition_unreadable", partition=event.partition, problem=event.problem)
        else:
            log.info("assignment", change=type(event).__name__.lower(), partitions=sorted(event.partitions))

    def _put_off(self, held: Held, offset: int, problem: str) -> None:
        now = self._monotonic()
        held.fails(offset, problem, now)
        held.full, held.retry_at = True, now + RETRY_S

    def _take_answers(self) -> None:
        while True:
            try:
                answer = self._recorder.answers.get_nowait()
            except queue.Empty:
                return
            match answer:
                case Answer(number, Granted(lane)):
                    held = self._held.get(lane.partition)
                    if held and held.asked == number and not held.lane:
                        self._begin(held, lane)
                case Answer(number, Early(partition, stored)):
                    held = self._held.get(partition)
                    if held and held.asked == number and not held.lane:
                        # An end may be told short for a while (tansu counts a batch as one record until the next
                        # comes); taken for another log, it would all be read again.
                        held.stored, held.ask_at = stored, self._monotonic() + CERTAIN_S
                case Void(lane, ours):
                    held = self._held.get(lane.partition)
                    if held and held.lane is lane:
                        self._source.pause([lane.partition])
                        # Where another agent has it, two that claim at once would fence each other on and on.
                        self._held[lane.partition] = Held() if ours else Held(ask_at=self._later())

    def _begin(self, held: Held, lane: Lane) -> None:
        if self._source.seek(lane.partition, lane.claim.next_offset, lane.claim.leader_epoch):
            held.lane = lane
            if not self._stopped:
                self._source.resume([lane.partition])

    def _ask(self) -> None:
        now = self._monotonic()
        due = [partition for partition, held in self._held.items() if not held.lane and held.ask_at <= now]
        if not due:
            return
        from_end = self._settings.start_from == "latest"
        try:
            partitions = self._source.partitions()
            known = self._source.bounds({*due, *range(partitions)} if from_end else due)
            key = self._source.stream()
        except SourceUnreachableError as error:
            self._outage(error)
            for partition in due:
                self._held[partition].ask_at = self._later()
            return
        bounds = {partition: known[partition] for partition in due if partition in known}
        for partition in set(due) - known.keys():
            self._held[partition].ask_at = self._later()
            self._held[partition].fails(None, LEADERLESS, now)
        if not bounds:
            return
        self._number += 1
        for partition in bounds:
            self._held[partition].asked, self._held[partition].ask_at = self._number, float("inf")
        before = {partition: offset for partition in bounds if (offset := self._held[partition].stored) is not None}
        cuts = {partition: cut for partition in bounds if (cut := self._held[partition].cut)}
        ends = {partition: limits.end for partition, limits in known.items()} if from_end else {}
        self._recorder.inbox.put(ClaimRequest(self._number, key, partitions, bounds, before, cuts, ends))

    def _later(self) -> float:
        # At least a heartbeat: a rebalance that takes the partition away shows by then.
        return self._monotonic() + self._settings.heartbeat_s * (1 + self._rng.random())

    @property
    def _stopped(self) -> bool:
        return self._throttled or self._draining.is_set()

    def _throttle(self) -> None:
        lanes = list(self.claimed)
        if self._draining.is_set():
            self._source.pause(lanes)
        elif not self._throttled and self._budget.room == 0:
            self._throttled = True
            self._source.pause(lanes)
        elif self._throttled and self._budget.low:
            self._throttled = False
            for partition in lanes:
                self._held[partition].fed = False
            self._source.resume([partition for partition in lanes if not self._held[partition].full])
        elif self._throttled:
            self._feed(lanes)
        if not self._stopped:
            self._share(lanes)

    def _feed(self, partitions: Sequence[int]) -> None:
        """What was just taken over, or is quiet, does not wait for the backlog of others: room is enough."""
        now = self._monotonic()
        for partition in partitions:
            held = self._held[partition]
            empty = held.lane is not None and not len(held.lane.window)
            hungry = empty and self._budget.room > 0 and held.retry_at <= now
            if hungry and not held.fed:
                self._source.resume([partition])
            elif held.fed and not hungry:
                self._source.pause([partition])
            held.fed = hungry

    def _share(self, partitions: Sequence[int]) -> None:
        """None has more in flight than its share, so that a backlog in one keeps no other from being read."""
        now = self._monotonic()
        for partition in partitions:
            held = self._held[partition]
            count = len(held.lane.window) * len(partitions) if held.lane else 0
            if not held.full and count >= self._budget.most_frames:
                held.full = True
                self._source.pause([partition])
            elif held.full and count * 2 <= self._budget.most_frames and held.retry_at <= now:
                held.full = False
                self._source.resume([partition])

    def _poll(self) -> None:
        waiting = self._stopped or any(
            (held.lane is None or held.full) and not held.unread for held in self._held.values()
        )
        most = max(1, min(self._settings.max_poll_records, self._budget.room))
        try:
            records = self._source.poll(BUSY_POLL_S if waiting else POLL_S, most)
        except SourceUnreachableError as error:
            self._outage(error)
            self._ended.wait(_OUTAGE_S)
            return
        if self._health.dependency("source", None):
            log.info("dependency_back", dependency="source")
        if records:
            self._take(records)

    def _take(self, records: Sequence[Record]) -> None:
        arrived = self._monotonic()
        by_lane: dict[int, list[Work]] = {}
        for record in records:
            held = self._held.get(record.partition)
            # Handed out before the claim's seek, or by a source that jumped back: read again from the claim on.
            if held is None or held.lane is None or held.lane.dropped or self._stale(held.lane, record):
                continue
            by_lane.setdefault(record.partition, []).append(Work(held.lane, record, record.timestamp, arrived))
        for works in by_lane.values():
            for work in works:
                self._budget.take(len(work.record.value))
            self._recorder.inbox.put(Arrived(works[0].lane, works))
            for work in works:
                self._forward(work)

    def _stale(self, lane: Lane, record: Record) -> bool:
        return record.offset < lane.claim.next_offset

    def _outage(self, error: Exception) -> None:
        if self._health.dependency("source", str(error)):
            log.warning("dependency_down", dependency="source", problem=str(error))

    def _tidy(self) -> None:
        """What is done once a second: idle positions, lag, the broker's own commit, a recreated topic."""
        self._tidied = self._monotonic()
        key = self._source.stream()
        known = bool(self._held)
        lags: dict[tuple[int, int], int] = {}
        for partition, held in self._held.items():
            lane = held.lane
            if lane is None:
                known = False
                continue
            if self._replaced(lane, key):
                # What is in flight stays ours to commit: nobody else can read it any more.
                self._recorder.inbox.put(Gone(frozenset({partition}), lost=False))
                self._source.pause([partition])
                self._held[partition] = Held()
                continue
            place, end = self._source.position(partition), self._source.end(partition)
            if place is not None:
                self._recorder.inbox.put(Idle(lane, place))
            if held.unread and (place is None or held.unread.offset != place.offset):
                log.info("partition_readable", partition=partition)
                held.unread = None
            if end is None:
                known = False
                continue
            lags[lane.claim.stream_id, partition] = left = max(0, end - lane.claim.next_offset)
            self._metrics.lag.labels(str(partition)).set(left)
        for partition in {partition for _, partition in self.lags} - {partition for _, partition in lags}:
            self._metrics.lag.remove(str(partition))
        self.lag, self.lags = sum(lags.values()) if known else None, lags
        done = {p: held.lane.claim.next_offset for p, held in self._held.items() if held.lane}
        if news := {p: offset for p, offset in done.items() if self._committed.get(p) != offset}:
            passing("broker.commit")
            self._source.commit(news)
            passing("broker.committed")
            self._committed |= news

    @staticmethod
    def _replaced(lane: Lane, key: StreamKey) -> bool:
        return (lane.key.cluster_id, lane.key.topic_id.partition("#")[0]) != (key.cluster_id, key.topic_id)
