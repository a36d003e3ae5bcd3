"""The recorder: the one thread that claims partitions and commits their finished prefixes."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.alerts.watch import tell_blind
from agent.failpoints import passing
from agent.health import Health
from agent.live import Live
from agent.metrics import Metrics
from agent.pipeline import commit
from agent.pipeline.budget import Budget
from agent.pipeline.camera_watch import CameraWatch
from agent.pipeline.claims import Early, Granted, claim_all
from agent.pipeline.gap import DataGapError, Gap, partition_subject
from agent.pipeline.messages import Answer, Arrived, ClaimRequest, Gone, Idle, Message, Void
from agent.pipeline.patience import Patience
from agent.pipeline.relay import Relay
from agent.pipeline.stages import Stages
from agent.pipeline.stats import Meter
from agent.pipeline.work import Lane, Work
from agent.settings import Settings
from agent.sources.base import Place
from agent.store.alerts import Alert
from agent.store.engine import writing
from agent.store.errors import Fenced, Outdated, Raced
from agent.store.inspections import Inspection
from agent.store.lots import Lots
from agent.store.offsets import Claim, Counts, advance

log = structlog.get_logger()
MOST = 256  # frames of one transaction
WAIT_S = 0.2


class Recorder:
    """Owns lanes and their windows; everything reaches it through `inbox`, in order.

    Attributes:
        inbox: messages; None ends the thread's loop.
        answers: for the intake.
        committed: next offsets by partition, for the intake to tell the broker.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        holder: str,
        patience: Patience,
        budget: Budget,
        relay: Relay,
        meter: Meter,
        stages: Stages,
        metrics: Metrics,
        health: Health,
        live: Live,
        watch: CameraWatch,
        clock: Callable[[], datetime],
        alarms: Alarms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._alarms = alarms
        self._settings = settings
        self._holder = holder
        self._patience = patience
        self._budget = budget
        self._relay = relay
        self._meter = meter
        self._stages = stages
        self._metrics = metrics
        self._health = health
        self._live = live
        self._watch = watch
        self._clock = clock
        self._monotonic = monotonic
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Answer | Void] = queue.SimpleQueue()
        self.lanes: dict[int, Lane] = {}
        self._requests: deque[ClaimRequest] = deque()
        self._lots = Lots(settings.plant.lots_per_day, settings.timezone)
        self._ended = threading.Event()
        self._log = log.bind()  # bound once: a line for each frame costs nothing where it is not shown

    def run(self) -> None:
        """The thread's loop.

        Raises:
            AbandonedError: the agent stops at once.
            DataGapError: kafka.on_gap is "stop", and there is a gap.
        """
        while not self._ended.is_set():
            self._health.tick("recorder")
            self.turn()
        self._health.forget("recorder")

    def turn(self, wait_s: float = WAIT_S) -> None:
        """Goes round once: takes what came, claims, commits. Raises what `run` does.

        Args:
            wait_s: how long to wait for a first message.
        """
        for message in self._receive(wait_s):
            self._handle(message)
        self._claim()
        for lane in list(self.lanes.values()):
            self._commit(lane)

    def _receive(self, wait_s: float) -> list[Message]:
        found: list[Message] = []
        try:
            found.append(self.inbox.get(timeout=wait_s))
            while len(found) < 4 * MOST:
                found.append(self.inbox.get_nowait())
        except queue.Empty:
            pass
        return found

    def _handle(self, message: Message) -> None:
        match message:
            case None:
                self._ended.set()
            case Work():
                self._finish(message)
            case Arrived(lane, works):
                if not len(lane.window):
                    lane.moved = self._monotonic()
                for work in works:
                    lane.window.arrive(work.record.offset)
            case ClaimRequest():
                self._requests.append(message)
            case Gone(partitions, lost):
                self._gone(partitions, lost)
            case Idle(lane, place):
                self._idle(lane, place)

    def _finish(self, work: Work) -> None:
        if work.lane.dropped:
            self._budget.give(len(work.record.value))
        else:
            work.lane.window.finish(work.record.offset, work)

    def _gone(self, partitions: frozenset[int], lost: bool) -> None:
        self._requests = deque(
            replace(one, bounds={p: b for p, b in one.bounds.items() if p not in partitions}) for one in self._requests
        )
        for partition in partitions & self.lanes.keys():
            lane = self.lanes[partition]
            if lost:
                self._drop(lane)
            else:
                lane.closing = True

    def _drop(self, lane: Lane) -> None:
        """Its frames are another's: those finished end here, the others when they come back."""
        lane.dropped = True
        for work in lane.window.results():
            self._budget.give(len(work.record.value))
        self._remove(lane)

    def _remove(self, lane: Lane) -> None:
        if self.lanes.get(lane.partition) is lane:
            del self.lanes[lane.partition]
            self._metrics.partitions.set(len(self.lanes))
            for station_id, state in lane.stations.items():
                if not any(station_id in other.stations for other in self.lanes.values()):
                    self._metrics.blind.remove(state.name)
        self._relay.disown(lane)
        self._watch.forget(lane)

    def _claim(self) -> None:
        waiting: deque[ClaimRequest] = deque()
        for request in self._requests:
            # What is still in flight under an older claim is worth more than reading it again.
            busy = {p for p in request.bounds if p in self.lanes and len(self.lanes[p].window)}
            free = {p: b for p, b in request.bounds.items() if p not in busy}
            if busy:
                later = {p: b for p, b in request.bounds.items() if p in busy}
                waiting.append(replace(request, bounds=later))
            if free:
                self._grant(replace(request, bounds=free))
        self._requests = waiting

    def _grant(self, request: ClaimRequest) -> None:
        now = self._clock()

        def transaction() -> list[Granted | Early]:
            with writing(self._engine) as conn:
                granted = claim_all(
                    conn,
                    request.key,
                    request.bounds,
                    partitions=request.partitions,
                    settings=self._settings.kafka,
                    holder=self._holder,
                    now=now,
                    stored_before=request.stored_before,
                    cuts=request.cuts,
                    ends=request.ends,
                )
                passing("claim.written")
                return granted

        passing("claim.begin")
        try:
            answers = self._patience.call(transaction, "database")
        except DataGapError as error:  # nothing was committed: the next start finds it, too
            self._alarms.raised("data_gap", error.subject, error.words, level="error")
            raise
        for one in answers:
            if isinstance(one, Granted):
                self._begin(one)
            self.answers.put(Answer(request.number, one))

    def _begin(self, granted: Granted) -> None:
        lane = granted.lane
        if old := self.lanes.get(lane.partition):
            self._drop(old)
        self.lanes[lane.partition] = lane
        self._metrics.partitions.set(len(self.lanes))
        if granted.gap:
            self._tell_gap(lane, granted.gap, granted.opened)
        log.info("partition_claimed", partition=lane.partition, offset=lane.claim.next_offset, epoch=lane.claim.epoch)
        passing("claim.done")
        self._relay.own(lane)

    def _tell_gap(self, lane: Lane, gap: Gap, opened: Alert | None) -> None:
        self._metrics.gaps.labels(gap.kind).inc()
        log.warning("data_gap", partition=lane.partition, kind=gap.kind, **gap.numbers)
        if opened:
            log.error("alert_opened", **opened.line, detail=opened.numbers)
        if self._settings.kafka.on_gap == "stop":
            raise DataGapError(gap.words(lane.key, lane.partition), partition_subject(lane.key, lane.partition))

    def _idle(self, lane: Lane, place: Place) -> None:
        if lane.dropped or len(lane.window) or place.offset <= lane.claim.next_offset:
            return

        def transaction() -> Claim:
            with writing(self._engine) as conn:
                now = self._clock()
                return advance(conn, lane.claim, place.offset, Counts(), now, leader_epoch=place.leader_epoch)

        try:
            lane.claim = self._patience.call(transaction, "database")
        except Fenced as error:
            self._fenced(lane, error)

    def _commit(self, lane: Lane) -> None:
        while works := lane.window.prefix(MOST):
            passing("commit.begin")
            try:
                done = self._patience.call(lambda works=works: self._transaction(lane, works), "database")  # type: ignore[misc]
            except Fenced as error:
                self._fenced(lane, error)
                return
            passing("commit.done")
            lane.claim = done.claim
            lane.window.pop(len(works))
            lane.moved = self._monotonic()
            self._recorded(works, done)
            lane.stations |= done.stations
            lane.numbering |= done.numbering
        if lane.closing and not len(lane.window):
            self._remove(lane)

    def _transaction(self, lane: Lane, works: Sequence[Work]) -> commit.Done:
        while True:
            try:
                with writing(self._engine) as conn:
                    done = commit.commit(conn, lane, works, self._lots, self._settings, self._clock())
                    passing("commit.written")
                    return done
            except Raced:
                # Each time one more frame turns out to be a duplicate, or one more day has its partition: it ends.
                log.info("frame_raced", partition=lane.partition, epoch=lane.claim.epoch)

    def _fenced(self, lane: Lane, error: Fenced) -> None:
        ours = isinstance(error, Outdated)
        if ours:
            log.info("claim_outdated", partition=lane.partition, epoch=lane.claim.epoch)
        else:
            log.warning("fenced", partition=lane.partition, epoch=lane.claim.epoch)
            self._metrics.fenced.inc()
        self._drop(lane)
        self.answers.put(Void(lane, ours))

    def _recorded(self, works: Sequence[Work], done: commit.Done) -> None:
        now = self._clock()
        flagged = sum(row.verdict in ("review", "reject") for row in done.inspections)
        latencies = [max(0.0, (now - row.event_at).total_seconds() * 1000) for row in done.inspections]
        self._meter.add(done.counts, flagged, latencies)
        self._stages.passed("record", works)
        for work in works:
            self._budget.give(len(work.record.value))
            if outcome := work.outcome:
                self._log.debug("frame_recorded", **work.identity, verdict=outcome.verdict, reason=outcome.reason)
        self._relay.wake(works[0].lane)
        self._measure(done, latencies)
        names = {work.place.station_id: work.place for work in works if work.place}
        verdicts: Counter[tuple[str, str]] = Counter()
        for row in done.inspections:
            place = names[row.station_id]
            verdicts[place.station, row.verdict] += 1
            self._live.publish(_event(row, place.station, place.product))
        for labels, n in verdicts.items():
            self._metrics.verdicts.labels(*labels).inc(n)
        for station_id, state in done.stations.items():
            self._metrics.blind.labels(state.name).set(state.blind)
            before = works[0].lane.stations.get(station_id)
            # Told once even where it is well: whoever had the partition before may have told otherwise.
            if before is None or before.blind != state.blind:
                tell_blind(self._alarms, state.name, state.blind, state.failures)
        self._tell_lost(done)
        offsets = {row.offset for row in done.inspections}
        self._watch.feed([work for work in works if work.record.offset in offsets])

    def _tell_lost(self, done: commit.Done) -> None:
        for jump in done.jumps:
            if jump.missed:
                self._metrics.missed_frames.labels(jump.station).inc(jump.missed)
            else:
                log.info("camera_began_anew", station=jump.station, last=jump.last, number=jump.number)
        for alert in done.opened:
            log.warning("alert_opened", **alert.line, detail=alert.numbers)

    def _measure(self, done: commit.Done, latencies: Sequence[float]) -> None:
        for outcome in ("inspected", "not_inspected", "dead_lettered", "duplicate"):
            if n := getattr(done.counts, outcome):
                self._metrics.frames.labels(outcome).inc(n)
        for row, latency in zip(done.inspections, latencies, strict=True):
            self._metrics.latency.observe(latency / 1000)
            if row.late:
                self._metrics.late.inc()
            if row.verdict == "not_inspected":
                self._metrics.not_inspected.labels(row.reason or "").inc()


def _event(row: Inspection, station: str, product: str) -> dict[str, object]:
    return {
        "at": row.decided_at,
        "station": station,
        "product": product,
        "serial": row.serial,
        "verdict": row.verdict,
        "reason": row.reason,
        "severity": row.severity,
        "stream_id": row.stream_id,
        "partition": row.partition,
        "offset": row.offset,
    }
