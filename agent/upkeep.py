"""What an installation does beside its frames: evidence let go, blobs swept, rows pruned, audits admitted, watching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent import hot_window
from agent.alerts import flags, lapses
from agent.alerts.base import Alarms
from agent.alerts.disk import DiskWatch, folders
from agent.alerts.watch import Watch
from agent.chores import Chore
from agent.drift import watch as drift
from agent.metrics import Metrics
from agent.retention import Retention
from agent.retrain import admission
from agent.settings import Settings
from agent.store import inventory, storage
from agent.store.blobs import BlobStore
from agent.store.engine import writing
from agent.store.sweep import Sweeper
from agent.watching import judge

log = structlog.get_logger()
SWEEP_EVERY_S, SWEEP_FOR_S = 60.0, 5.0
RETENTION_EVERY_S = 600.0
STORAGE_EVERY_S = 1200.0
WATCH_EVERY_S = 15.0
DISK_EVERY_S = 60.0


def keeping(
    engine: Engine,
    store: BlobStore,
    settings: Settings,
    alarms: Alarms,
    *,
    clock: Callable[[], datetime],
    stopping: Callable[[], bool],
) -> list[Chore]:
    """What keeps the database and the blob store within their limits, and the audited parts in their windows."""
    sweeper = Sweeper(engine, store, clock=clock, stopping=stopping)
    retention = Retention(engine, settings.retention, alarms, stopping=stopping)

    def sweep(_: datetime) -> None:
        done = sweeper.sweep(SWEEP_FOR_S)
        if done.deleted:
            log.info("blobs_swept", looked=done.looked, deleted=done.deleted, bytes=done.bytes)

    def measure(now: datetime) -> None:
        held = inventory.total_bytes(engine, stopping)
        if stopping():
            return  # it is a part of them
        with writing(engine) as conn:
            storage.note(conn, storage.BLOBS, held, None, now)
            storage.note(conn, storage.DATABASE, storage.database_bytes(conn), None, now)

    def release(now: datetime) -> None:
        retention.apply(now)

    return [
        Chore("retention", RETENTION_EVERY_S, release),
        Chore("sweep", SWEEP_EVERY_S, sweep),
        Chore("storage", STORAGE_EVERY_S, measure),
        Chore("audit_windows", admission.EVERY_S, admission.Admission(engine, settings, alarms).check),
        *hot_window.chores(engine, settings.retention),
    ]


def watching(
    engine: Engine,
    settings: Settings,
    alarms: Alarms,
    metrics: Metrics,
    *,
    host: str,
    reading_frames: Callable[[], bool],
    certified: Callable[[], Sequence[int]],
    notify: Callable[[int], None],
) -> list[Chore]:
    """What looks for conditions that no frame shows, and judges the models that are watched.

    Args:
        engine: the database.
        settings: all of them.
        alarms: takes what is found.
        metrics: counts what drift watches read.
        host: this one's name; its disks are watched by its own agents.
        reading_frames: whether this agent keeps up with what the source has.
        certified: ids of the deployments in use that have a certificate.
        notify: tells agents that a product has another deployment.
    """
    wanted = settings.alerts
    watch = Watch(engine, alarms, silent_after_s=wanted.silent_after_s, reading_frames=reading_frames)
    disk = DiskWatch(
        engine, alarms, host=host, folders=folders(settings), limit_gb=wanted.disk_free_gb,
        full_days=wanted.disk_full_days,
    )  # fmt: skip
    return [
        Chore("watch", WATCH_EVERY_S, watch.check),
        Chore(lapses.KIND, lapses.EVERY_S, lapses.Lapses(engine, settings, alarms).check),
        Chore(drift.KIND, drift.EVERY_S, drift.DriftWatch(engine, settings, alarms, metrics).check),
        Chore("flag_rate", flags.EVERY_S, flags.FlagRates(engine, alarms, certified=certified).check),
        Chore("judge", judge.EVERY_S, judge.Judge(engine, settings, alarms, notify=notify).check),
        Chore(f"disk.{host}", DISK_EVERY_S, disk.check),
    ]
