"""The pipeline: its threads, how they are joined, started, drained and stopped."""

from __future__ import annotations

import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.health import Health
from agent.live import Live
from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.pipeline.budget import Budget
from agent.pipeline.camera_watch import CameraWatch
from agent.pipeline.claim_checks import ClaimChecks
from agent.pipeline.commit import REMEMBERED
from agent.pipeline.decode import Decoder
from agent.pipeline.directory import Directory
from agent.pipeline.evidence import EvidenceMaker
from agent.pipeline.glances import Glances
from agent.pipeline.intake import Intake
from agent.pipeline.later import Later
from agent.pipeline.patience import AbandonedError, Patience, PatientBlobs
from agent.pipeline.provider import Provider
from agent.pipeline.quota import Quota
from agent.pipeline.record import Recorder
from agent.pipeline.relay import Relay
from agent.pipeline.score import BatchFormer, BatchScorer, EngineFaultError, Inbox
from agent.pipeline.second import SecondScorer, sample
from agent.pipeline.stages import Stages
from agent.pipeline.stalls import Stalls
from agent.pipeline.stats import Meter, Stats
from agent.pipeline.work import Work
from agent.settings import Settings
from agent.sources.base import Decisions, Source
from agent.store import seen
from agent.store.blobs import BlobStore
from agent.store.engine import writing
from agent.store.install import Install

log = structlog.get_logger()
REPORT_S = 1.0
TIDY_EVERY_S = 60.0
NOTE_EVERY_S = 10.0
FORGET = 500  # frame ids in one transaction
STALL_LOOK_S = 5.0
_JOIN_S = 4.0  # for leaving the group, then for all other threads together


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline works with. `abandon` ends every wait of `patience`."""

    settings: Settings
    engine: Engine
    store: BlobStore
    source: Source
    sink: Decisions
    provider: Provider
    live: Live
    health: Health
    metrics: Metrics
    patience: Patience
    install: Install
    agent: str
    clock: Callable[[], datetime]
    rng: random.Random
    alarms: Alarms
    host: str = field(default_factory=socket.gethostname)
    monotonic: Callable[[], float] = time.monotonic


class Pipeline:
    """The threads between the source and the decisions.

    The first exception of any thread is kept in `failed` and sets `halted`; what was in flight is read again at the
    next start.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        settings, limits = parts.settings, parts.settings.pipeline
        store = PatientBlobs(parts.store)
        self.failed: BaseException | None = None
        self.halted = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._budget = Budget(limits.queue_frames, limits.queue_mb << 20)
        self._meter = Meter()
        self._stages = Stages(parts.metrics, monotonic=parts.monotonic)
        self._undecoded: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._decoded: Inbox = queue.SimpleQueue()
        self._decided: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._relay = Relay(
            parts.engine,
            parts.sink,
            install_id=parts.install.install_id,
            patience=parts.patience,
            metrics=parts.metrics,
            health=parts.health,
            stages=self._stages,
            clock=parts.clock,
            monotonic=parts.monotonic,
        )
        self._watch = CameraWatch(parts.engine, parts.alarms, parts.metrics, parts.patience, parts.clock)
        self._recorder = Recorder(
            parts.engine,
            settings,
            holder=parts.agent,
            budget=self._budget,
            relay=self._relay,
            meter=self._meter,
            stages=self._stages,
            live=parts.live,
            watch=self._watch,
            clock=parts.clock,
            patience=parts.patience,
            metrics=parts.metrics,
            health=parts.health,
            alarms=parts.alarms,
            monotonic=parts.monotonic,
        )
        self._intake = Intake(
            parts.source,
            self._recorder,
            self._undecoded.put,
            settings=settings.kafka,
            budget=self._budget,
            health=parts.health,
            metrics=parts.metrics,
            rng=parts.rng,
            monotonic=parts.monotonic,
        )
        self._stalls = Stalls(
            self._recorder,
            self._intake,
            parts.health,
            parts.alarms,
            agent=parts.agent,
            claim_wait_s=limits.claim_wait_s,
            monotonic=parts.monotonic,
        )
        self._later = Later(self._undecoded.put, monotonic=parts.monotonic)
        self._decoder = Decoder(
            settings,
            Directory(parts.engine, parts.patience, settings, monotonic=parts.monotonic),
            self._budget,
            ClaimChecks(store, parts.patience),
            parts.provider,
            secret=parts.install.secret,
            clock=parts.clock,
            abandon=parts.patience.abandon,
            monotonic=parts.monotonic,
        )
        self._former = BatchFormer(self._decoded, size=limits.batch_size, max_wait_s=limits.max_wait_ms / 1000)
        self._scorer = BatchScorer(parts.provider, parts.metrics, limits, parts.clock)
        self._second = SecondScorer(parts.metrics)
        self._evidence = EvidenceMaker(
            parts.engine, store, parts.patience, Quota(parts.engine, settings.blobs.failed_per_hour), parts.clock
        )
        every_s = settings.redis.picture_every_s
        self._glances = Glances(parts.live, parts.install.install_id, every_s, monotonic=parts.monotonic)
        parts.health.ready_check("assignment", self._unassigned)
        parts.health.ready_check("models", parts.provider.problems)
        parts.health.ready_check("pipeline", lambda: repr(self.failed) if self.failed else None)
        parts.health.ready_check("partitions", self._stalls.unread)
        parts.health.live_check("progress", self._stalls.stuck)

    def start(self) -> None:
        """Opens the source and starts the threads.

        Raises:
            SourceError: the source cannot be opened.
        """
        self._parts.source.open()
        limits = self._parts.settings.pipeline
        self._spawn("intake", self._intake.run)
        for number in range(limits.decode_threads):
            self._spawn(f"decode-{number}", self._decode)
        self._spawn("later", self._later.run)
        self._spawn("score", self._score)
        for number in range(limits.evidence_threads):
            self._spawn(f"evidence-{number}", self._keep)
        self._spawn("record", self._recorder.run)
        self._spawn("relay", self._relay.run)
        self._spawn("report", self._report)

    def drain(self, timeout_s: float) -> bool:
        """Takes no more frames and finishes those in flight; whether all were recorded and sent in time."""
        deadline = time.monotonic() + timeout_s
        done = (
            self._intake.drain(timeout_s)
            and self._budget.wait_empty(max(0.0, deadline - time.monotonic()))
            and self._relay.wait_clean(max(0.0, deadline - time.monotonic()))
        )
        log.info("drained" if done else "drain_incomplete", in_flight=self._budget.frames)
        return done

    def stop(self) -> None:
        """Ends all threads; call `drain` first to finish what is in flight."""
        limits = self._parts.settings.pipeline
        self._stopped.set()
        self._intake.end()
        # The intake's last round tells the broker the last offsets, so it goes first.
        self._join("intake")
        self._later.end()
        for _ in range(limits.decode_threads):
            self._undecoded.put(None)
        self._decoded.put(None)
        for _ in range(limits.evidence_threads):
            self._decided.put(None)
        self._recorder.inbox.put(None)
        self._relay.end()
        self._parts.patience.abandon.set()
        self._join("")

    @property
    def held_bytes(self) -> int:
        """Bytes of frames in flight, received, and decoded with their maps."""
        return self._budget.held

    @property
    def caught_up(self) -> bool:
        """Whether frames are recorded as they come: nothing is away, and no more wait than can be in flight."""
        if self.halted.is_set() or self._parts.health.outages:
            return False
        lag = self._intake.lag
        # Without partitions, another agent of the group has them.
        return not self._intake.assigned or (lag is not None and lag <= self._parts.settings.pipeline.queue_frames)

    def stats(self) -> Stats:
        """This agent's numbers now."""
        counts, flagged, rate, p99_ms = self._meter.snapshot()
        problems = self._parts.health.unready()
        return Stats(
            agent=self._parts.agent,
            received=counts.received,
            inspected=counts.inspected,
            not_inspected=counts.not_inspected,
            dead_lettered=counts.dead_lettered,
            duplicate=counts.duplicate,
            flagged=flagged,
            lag=self._intake.lag,
            rate=round(rate, 2),
            p99_ms=None if p99_ms is None else round(p99_ms, 1),
            in_flight=self._budget.frames,
            partitions=self._intake.claimed,
            ready=not problems,
            problems=problems,
        )

    def _decode(self) -> None:
        while work := self._undecoded.get():
            self._decode_one(work)

    def _decode_one(self, work: Work) -> None:
        waits = not work.lane.dropped and not self._decoder(work)
        if waits:
            self._later.put(work)
            return
        self._stages.passed("decode", [work])
        if work.lane.dropped:
            self._finish(work)
        elif work.outcome:
            self._glances.draw(work)
            self._decided.put(work)
        else:
            self._decoded.put(work)

    def _score(self) -> None:
        while not self._former.ended:
            batch = self._former.next(0.5)
            self._parts.health.tick("score", within_s=120)
            self._score_batch(batch)
        self._parts.health.forget("score")

    def _score_batch(self, batch: Sequence[Work]) -> None:
        live = [work for work in batch if not work.lane.dropped]
        deployed = self._scorer(live) if live else None
        companion = deployed.companion if deployed else None
        drawn = sample(companion, live) if companion else []
        for work in batch:
            if work not in drawn:
                self._pass_on(work)
        if companion and drawn:  # last, so that nobody else waits for it
            self._second(companion, drawn)
            for work in drawn:
                self._pass_on(work)

    def _pass_on(self, work: Work) -> None:
        self._stages.passed("score", [work])
        if work.lane.dropped or not (self._glances.draw(work) | self._evidence.wanted(work)):
            self._finish(work)
        else:
            work.map = work.map and work.map.alone()
            self._decided.put(work)

    def _keep(self) -> None:
        while work := self._decided.get():
            self._keep_one(work)

    def _keep_one(self, work: Work) -> None:
        if not work.lane.dropped:
            self._evidence(work)
            self._glances.show(work)
            self._stages.passed("evidence", [work])
        self._finish(work)

    def _finish(self, work: Work) -> None:
        self._budget.give_pixels(work.held_bytes)
        work.let_go()
        self._recorder.inbox.put(work)

    def _report(self) -> None:
        tidy_in = look_in = note_in = 0.0
        while not self._stopped.wait(REPORT_S):
            look_in -= REPORT_S
            if look_in <= 0:
                look_in = STALL_LOOK_S
                self._stalls.tell()
            stats = self.stats()
            self._parts.live.presence(self._parts.agent, stats.to_dict())
            self._parts.metrics.in_flight_frames.set(self._budget.frames)
            self._parts.metrics.in_flight_bytes.set(self.held_bytes)
            note_in -= REPORT_S
            if note_in <= 0:
                note_in = NOTE_EVERY_S
                self._stages.note(self._parts.engine, self._intake.lags, self._parts.clock())
            tidy_in -= REPORT_S
            if tidy_in <= 0:
                tidy_in = TIDY_EVERY_S
                self._parts.patience.call(self._forget, "database")
                self._watch.save()
        self._stages.note(self._parts.engine, self._intake.lags, self._parts.clock())
        self._parts.live.leave(self._parts.agent)
        self._watch.save()

    def _forget(self) -> None:
        before, forgotten = self._parts.clock() - REMEMBERED - timedelta(minutes=1), FORGET
        while forgotten == FORGET and not self._stopped.is_set():
            # In short transactions: the recorder writes, too.
            with writing(self._parts.engine) as conn:
                forgotten = seen.forget(conn, before, FORGET)

    @property
    def _subject(self) -> str:
        """Of alarms about this agent: its host, since a restarted agent has another name."""
        return f"agent:{self._parts.host}"

    def _unassigned(self) -> str | None:
        if not self._intake.claimed:
            return "no partition is claimed yet"
        return "; ".join(self._intake.leaderless(0.0).values()) or None

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                target()
            except AbandonedError:
                pass
            except BaseException as error:  # whatever it is, the agent must not go on without this thread
                self._fail(name, error)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _fail(self, thread: str, error: BaseException) -> None:
        if self.failed is None:
            self.failed = error
            # Faults with words of their own need no traceback.
            told = isinstance(error, EngineFaultError) or type(error).__name__ in ("DataGapError", "SourceError")
            log.error("pipeline_failed", thread=thread, error=str(error) or repr(error), exc_info=not told and error)
            if isinstance(error, EngineFaultError):
                words = Phrase("{host}: {problem}", host=self._parts.host, problem=str(error))
                self._parts.alarms.raised("breaker", self._subject, words, level="error")
        self.halted.set()
        self._parts.patience.abandon.set()

    def _join(self, name: str) -> None:
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            if not name or thread.name == name:
                thread.join(max(0.0, deadline - time.monotonic()))
