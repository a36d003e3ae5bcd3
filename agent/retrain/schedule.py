"""Starts training runs when they are due, each in a child process, and takes up those whose process is gone.

Any number of agents may run this.

The database is the truth: the lease says who trains, the run's row how far it is. The job store is in memory.
Source: APScheduler 3.11, BackgroundScheduler.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, Thread

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import Connection, Engine

from agent.live import Live
from agent.phrases import Phrase
from agent.retrain import child, holding, resuming, run
from agent.retrain.checking import Checker
from agent.retrain.due import due
from agent.retrain.looks import Looks
from agent.service.models import RECERTIFY
from agent.service.withdrawals import TAKE_OUT
from agent.settings import Settings
from agent.store import commands, leases, runs
from agent.store.blobs import open_blobs
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.leases import Lease
from agent.store.runs import TrainingRun

PATIENCE_S = 4.0  # what a child has between SIGTERM and SIGKILL; the agent itself must end within drain_s

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """A run in its child process."""

    run_id: int
    product_id: int
    lease: Lease
    process: subprocess.Popen[bytes]


class Scheduler:
    """Looks for due runs, starts them, records how they ended. Made by `start`."""

    def __init__(self, settings: Settings, engine: Engine, live: Live, clock: Callable[[], datetime]):
        self._settings, self._engine, self._live, self._clock = settings, engine, live, clock
        self._checker = Checker(settings, engine)
        self._lock = Lock()  # guards what follows
        self._started: Started | None = None
        self._watcher: Thread | None = None
        self._cron_at: datetime | None = None
        self._stopping = False
        self._looks = Looks(settings, engine, clock)
        self._jobs = BackgroundScheduler(
            timezone=settings.timezone,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def start(self) -> None:
        """Looks for the first time at once, then every `retrain.check_every_s`."""
        wanted = self._settings.retrain
        self._jobs.add_job(self.tick, "interval", seconds=wanted.check_every_s, next_run_time=datetime.now(UTC))
        self._jobs.add_job(self._looks.tick, "interval", seconds=wanted.check_every_s, next_run_time=datetime.now(UTC))
        self._jobs.add_job(self.recertify, "interval", seconds=wanted.check_every_s, next_run_time=datetime.now(UTC))
        self._jobs.add_job(self.take_out, "interval", seconds=wanted.check_every_s, next_run_time=datetime.now(UTC))
        self._jobs.add_job(self._checker.tick, "interval", seconds=self._settings.samples.check_every_s)
        if wanted.cron:
            self._jobs.add_job(self.fire_cron, CronTrigger.from_crontab(wanted.cron, timezone=self._settings.timezone))
        self._jobs.start()

    def stop(self) -> None:
        """Ends the looking and, with SIGTERM and then SIGKILL, a running child; another agent, or the next, goes on."""
        self._stopping = True
        self._looks.stop()
        self._jobs.shutdown(wait=True)
        self._checker.stop()
        with self._lock:
            started, watcher = self._started, self._watcher
        if started:
            started.process.terminate()
            try:
                started.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                started.process.kill()
        if watcher:
            watcher.join()

    @property
    def running(self) -> Started | None:
        """The run that this scheduler's child does now."""
        with self._lock:
            return self._started

    def fire_cron(self) -> None:
        """Makes every product with new samples due, once. Agents agree on the minute, so only one run comes of it."""
        self._cron_at = self._clock().replace(second=0, microsecond=0)

    def tick(self) -> None:
        """Looks once: takes up a run whose process is gone, or starts a due one. An outage is for the next look."""
        if self.running or self._stopping:
            return
        try:
            with writing(self._engine) as conn:
                opened = self._open(conn)
        except StoreError as error:
            log.warning("retrain_check_failed", problem=str(error))
            return
        if opened:
            self._spawn(*opened)

    def recertify(self) -> None:
        """Does what engineers asked for on the Models page, one after the other: arithmetic, without a model."""
        try:
            while not self._stopping and self._asked_to_recertify():
                from agent.retrain import recertifying  # here, because it loads torch

                product_id = recertifying.do_next(self._engine, self._clock())
                if product_id is not None:
                    self._live.notify_promotion(product_id)
        except StoreError as error:
            log.warning("recertify_check_failed", problem=str(error))

    def take_out(self) -> None:
        """Looks at the images that engineers said cannot be read, and takes their parts out."""
        try:
            while not self._stopping and self._asked_to_take_out():
                from agent.retrain import unreadable  # here, because it loads the decoder

                eye = unreadable.eye(open_blobs(self._settings.blobs), self._settings)
                unreadable.do_next(self._engine, eye, self._clock())
        except StoreError as error:
            log.warning("take_out_check_failed", problem=str(error))

    def _asked_to_take_out(self) -> bool:
        with reading(self._engine) as conn:
            return bool(commands.waiting(conn, [TAKE_OUT]))

    def _asked_to_recertify(self) -> bool:
        with reading(self._engine) as conn:
            return commands.waits(conn, RECERTIFY)

    def _open(self, conn: Connection) -> tuple[TrainingRun, Lease] | None:
        """Takes the lease and a run: one transaction, so two agents start one training."""
        now = self._clock()
        lease = holding.acquire(conn, now)
        if lease is None:
            return None
        taken = resuming.take_up(conn, self._settings, now)
        if taken is None and (found := due(conn, self._settings, now, self._cron_at)):
            taken = run.open_run(conn, self._settings, found, now)
        if taken is None:
            leases.release(conn, lease, now)
            return None
        return taken, lease

    def _spawn(self, taken: TrainingRun, lease: Lease) -> None:
        process = child.spawn(self._settings, child.JOB, "--run", str(taken.id), lease=lease)
        log.info("training_child_started", run=taken.id, attempt=taken.attempts, pid=process.pid)
        started = Started(taken.id, taken.product_id, lease, process)
        watcher = Thread(target=self._watch, args=(started,), name="retrain-child", daemon=True)
        with self._lock:
            self._started, self._watcher = started, watcher
        watcher.start()

    def _watch(self, started: Started) -> None:
        code = started.process.wait()
        try:
            self._ended(started, code)
        except StoreError as error:
            # The lease runs out, and whoever takes it next finds the run dead.
            log.warning("training_end_not_recorded", run=started.run_id, problem=str(error))
        finally:
            with self._lock:
                self._started = None

    def _ended(self, started: Started, code: int) -> None:
        """Records what a child could not record itself: that it was killed, or how it crashed."""
        how = Phrase("its process ended with status {code}", code=code)
        if code < 0:
            how = Phrase("its process was killed by signal {signal}", signal=-code)
        with writing(self._engine) as conn:
            now, state = self._clock(), runs.get(conn, started.run_id).state
            if state == "running" and holding.owns(conn, started.lease, now):
                runs.leave(conn, started.run_id, how, now, crashed=not self._stopping)
                log.warning("training_child_crashed", run=started.run_id, problem=how, stopping=self._stopping)
            leases.release(conn, started.lease, now)
        log.info("training_child_ended", run=started.run_id, status=code, state=state)
        if state == "promoted":
            self._live.notify_promotion(started.product_id)


def start(settings: Settings, engine: Engine, live: Live, clock: Callable[[], datetime]) -> Scheduler:
    """Starts the looking in a thread of its own.

    Args:
        settings: retrain; the child process runs with all of them.
        engine: the database.
        live: hears of promotions.
        clock: the time.

    Returns:
        The scheduler; call its `stop`.
    """
    scheduler = Scheduler(settings, engine, live, clock)
    scheduler.start()
    return scheduler
