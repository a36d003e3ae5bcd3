"""The agent process: wires the pipeline, answers health checks, starts retraining, and ends as asked."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Protocol

import structlog
from sqlalchemy import Engine

from agent import allocator, logs, upkeep
from agent.alerts.post import Post
from agent.alerts.webhook import Webhook
from agent.alerts.writer import AlertWriter
from agent.chores import Chores
from agent.health import Health, HealthServer
from agent.letters.worker import Worker
from agent.live import Live, open_live
from agent.metrics import Metrics
from agent.pipeline.models import Load, ModelManager, load_scorer
from agent.pipeline.patience import AbandonedError, Patience, PatientBlobs
from agent.pipeline.provider import Provider
from agent.pipeline.run import Parts, Pipeline
from agent.settings import Settings, utc_now
from agent.sources.base import Decisions, Source
from agent.sources.directory import DirectorySource
from agent.sources.directory_decisions import DirectoryDecisions
from agent.sources.kafka import KafkaSource
from agent.sources.kafka_decisions import KafkaDecisions
from agent.store import setting_versions
from agent.store.blobs import open_blobs
from agent.store.engine import check_revision, open_engine, reading, writing
from agent.store.install import Install, install_of
from agent.systemd import Systemd

log = structlog.get_logger()
CLOSING_S = 9.0  # of drain_s, for leaving the group and the threads
WATCH_S = 0.1
FETCH_SHARE = 8  # of pipeline.queue_mb: what one broker may send, or a poll read of a spool, at once
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class DaemonError(Exception):
    """The agent ended because something was wrong; the message says what to do. Nothing is lost."""


class Stoppable(Protocol):
    """What retraining hands back."""

    def stop(self) -> None:
        """Ends it."""


StartRetraining = Callable[[Settings, Engine, Live, Callable[[], datetime]], Stoppable]


def start_retraining(settings: Settings, engine: Engine, live: Live, clock: Callable[[], datetime]) -> Stoppable:
    """The scheduler of agent.retrain, loaded only where an agent runs it."""
    from agent.retrain import schedule

    return schedule.start(settings, engine, live, clock)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What may stand in for the daemon's own parts; None means its own, for `retrain` none at all.

    `load` makes the scorers of the daemon's own provider.
    """

    provider: Provider | None = None
    load: Load = load_scorer
    source: Source | None = None
    sink: Decisions | None = None
    retrain: StartRetraining | None = start_retraining


def run(
    settings: Settings,
    *,
    config_path: Path | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], datetime] = utc_now,
    wiring: Wiring = Wiring(),
) -> int:
    """Runs the agent until SIGTERM, SIGINT or `stop`.

    Args:
        settings: all of them.
        config_path: the file they came from, for the log.
        stop: ends it as SIGTERM does.
        clock: the time.
        wiring: other parts than the daemon's own.

    Returns:
        0: the process's exit status after an orderly end.

    Raises:
        DaemonError: the pipeline failed; the message is one line.
        SourceError, StoreError, HealthError, LiveError: it cannot start; the message says what to do.
    """
    allocator.keep_freed()
    logs.configure(settings.log.level, settings.log.format)
    engine = open_engine(settings.database.url)
    try:
        check_revision(engine)
        with reading(engine) as conn:
            install = install_of(conn)
        with writing(engine) as conn:
            setting_versions.keep(conn, settings.decision_hash, settings.deciding, clock())
        daemon = _Daemon(settings, engine, install, clock, wiring, stop or threading.Event())
        with _signals(daemon.ask):
            # Said once a signal is heard: whoever reads it may ask for the end.
            log.info("agent_starting", config=str(config_path or "defaults"))
            return daemon.run()
    finally:
        engine.dispose()


class _Daemon:
    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        install: Install,
        clock: Callable[[], datetime],
        wiring: Wiring,
        stop: threading.Event,
    ) -> None:
        self._settings, self._engine, self._install, self._clock = settings, engine, install, clock
        self._wiring, self._stop = wiring, stop
        self._asked = self._started = self._ended = False
        self._health, self._metrics = Health(), Metrics()
        self._patience = Patience(self._health, self._metrics, threading.Event(), random.Random())
        self._systemd = Systemd(os.environ)
        self._store = open_blobs(settings.blobs)
        self._host = socket.gethostname()
        self._agent = f"{self._host}-{os.getpid()}-{os.urandom(3).hex()}"
        self._alarms = AlertWriter(engine, self._metrics, clock=clock)

    def ask(self) -> bool:
        """Asks for the end, from a signal handler; False where that was asked before."""
        # No lock may be taken here: the interrupted main thread may hold it.
        first, self._asked = not self._asked, True
        return first

    def _watch(self) -> None:
        told = 0.0
        while not self._ended:
            within_s = self._systemd.watchdog_s
            if within_s and time.monotonic() - told > within_s / 3 and not self._health.dead():
                self._systemd.alive()
                told = time.monotonic()
            if self._asked:
                self._stop.set()
            if self._stop.is_set() and not self._started:
                # Loading models may wait for a dependency that is away.
                self._patience.abandon.set()
            time.sleep(WATCH_S)

    def run(self) -> int:
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        try:
            return self._run()
        finally:
            self._ended = True

    def _run(self) -> int:
        settings = self._settings
        with ExitStack() as cleanup:
            live = open_live(settings.redis.url)
            cleanup.callback(live.close)
            cleanup.callback(self._alarms.close)  # late, so that what went wrong at the end is told too
            self._alarms.start()
            server = HealthServer(settings.agent.host, settings.agent.port, self._health, self._metrics.text)
            cleanup.callback(server.close)
            provider = self._wiring.provider or self._manager(live)
            pipeline = self._pipeline(provider, live)
            cleanup.callback(provider.stop)
            try:
                provider.start()
                pipeline.start()
            except AbandonedError:
                return 0
            self._started = True
            chores = self._chores(pipeline, provider, live)
            cleanup.callback(chores.stop)
            chores.start()
            letters = Worker(self._engine, self._store, settings, clock=self._clock)
            cleanup.callback(letters.stop)
            letters.start()
            if settings.alerts.webhook:
                webhook = self._webhook()
                cleanup.callback(webhook.stop)
                webhook.start()
            retraining = self._wiring.retrain and self._wiring.retrain(settings, self._engine, live, self._clock)
            # What publishes or waits for a child can end while frames drain.
            ending = threading.Thread(target=self._end, args=(letters, retraining), name="ending", daemon=True)
            ending.start()
            cleanup.callback(ending.join, CLOSING_S)
            cleanup.callback(self._stop.set)
            self._systemd.ready(f"reading {settings.source.kind}")
            log.info("agent_started", agent=self._agent, http=f"{settings.agent.host}:{server.port}")
            return self._wait(pipeline)

    def _manager(self, live: Live) -> ModelManager:
        manager = ModelManager(
            self._engine,
            PatientBlobs(self._store),
            self._settings,
            patience=self._patience,
            metrics=self._metrics,
            load=self._wiring.load,
        )
        live.on_promotion(manager.notice)
        return manager

    def _pipeline(self, provider: Provider, live: Live) -> Pipeline:
        source, sink = self._ends()
        return Pipeline(
            Parts(
                settings=self._settings,
                engine=self._engine,
                store=self._store,
                source=self._wiring.source or source,
                sink=self._wiring.sink or sink,
                provider=provider,
                live=live,
                health=self._health,
                metrics=self._metrics,
                patience=self._patience,
                install=self._install,
                agent=self._agent,
                clock=self._clock,
                rng=random.Random(),
                alarms=self._alarms,
                host=self._host,
            )
        )

    def _chores(self, pipeline: Pipeline, provider: Provider, live: Live) -> Chores:
        keeping = upkeep.keeping(
            self._engine, self._store, self._settings, self._alarms, clock=self._clock, stopping=self._stop.is_set
        )
        watching = upkeep.watching(
            self._engine, self._settings, self._alarms, self._metrics, host=self._host,
            reading_frames=lambda: pipeline.caught_up,
            certified=lambda: [one.deployment_id for one in provider.all() if one.certified and one.deployment_id],
            notify=live.notify_promotion,
        )  # fmt: skip
        return Chores(self._engine, [*keeping, *watching], holder=self._agent, clock=self._clock)

    def _webhook(self) -> Webhook:
        return Webhook(
            self._engine,
            Post(self._settings.alerts.webhook),
            install_id=self._install.install_id,
            holder=self._agent,
            clock=self._clock,
            rng=random.Random(),
            metrics=self._metrics,
        )

    def _ends(self) -> tuple[Source, Decisions]:
        """Where frames come from and decisions go; neither connects before it is used."""
        fetch_bytes = (self._settings.pipeline.queue_mb << 20) // FETCH_SHARE
        if self._settings.source.kind == "directory":
            spool = self._settings.source.directory
            return DirectorySource(spool, poll_bytes=fetch_bytes), DirectoryDecisions(spool)
        kafka = self._settings.kafka
        group_id = kafka.group_id or self._install.group_id
        return KafkaSource(kafka, group_id=group_id, fetch_bytes=fetch_bytes), KafkaDecisions(kafka)

    def _end(self, letters: Worker, retraining: Stoppable | None) -> None:
        self._stop.wait()
        letters.ask()
        if retraining:
            retraining.stop()

    def _wait(self, pipeline: Pipeline) -> int:
        while not self._stop.wait(0.2) and not pipeline.halted.is_set():
            pass
        if not pipeline.halted.is_set():
            log.info("agent_draining")
            self._systemd.stopping("finishing what is in flight")
            pipeline.drain(max(2.0, self._settings.pipeline.drain_s - CLOSING_S))
        pipeline.stop()
        if pipeline.failed:
            raise DaemonError(str(pipeline.failed) or repr(pipeline.failed)) from pipeline.failed
        log.info("agent_stopped")
        return 0


@contextmanager
def _signals(ask: Callable[[], bool]) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks to stop, a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        if not ask():
            os._exit(128 + number)

    before = {number: signal.signal(number, asked) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
