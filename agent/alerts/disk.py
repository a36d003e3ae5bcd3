"""The disk: free space where this host keeps blobs, an SQLite file and a spool, and how long that will do."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from agent.alerts.base import Alarms
from agent.alerts.standing import Said
from agent.phrases import Phrase
from agent.settings import Settings
from agent.store import alerts, storage
from agent.store.alerts import Alert, fitted
from agent.store.engine import reading, writing
from agent.store.storage import Stored

GB = 1e9
ENOUGH = 1.1  # times the limit: what was raised ends there
AGAIN = timedelta(hours=1)  # what lasts is said again so often: agent.alerts.watch ends what nobody says any more


def folders(settings: Settings) -> list[Path]:
    """Where this host keeps what grows, one folder a disk."""
    found = [] if settings.blobs.url else [settings.blobs.directory]
    database = make_url(settings.database.url)
    if database.get_backend_name() == "sqlite":
        found.append(Path(database.database or "").parent)
    if settings.source.kind == "directory":
        found.append(settings.source.directory)
    disks = {_existing(folder).stat().st_dev: folder.resolve() for folder in reversed(found)}
    return list(disks.values())


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.resolve().parents) if one.exists())


class DiskWatch:
    """Measures disks, and raises `disk` while one is nearly full, `disk_fills` while it soon will be.

    For each host of its own.

    Args:
        engine: the database.
        alarms: takes it.
        host: this one.
        folders: looked at.
        limit_gb: free space below which somebody must look, in GB (10^9 bytes); 0: never.
        full_days: somebody must look, too, where it is full within so many days at the rate of the last one; 0: never.
        usage: bytes used and free where a folder is.
    """

    def __init__(
        self,
        engine: Engine,
        alarms: Alarms,
        *,
        host: str,
        folders: list[Path],
        limit_gb: float,
        full_days: float = 0.0,
        usage: Callable[[Path], tuple[int, int]] = lambda folder: shutil.disk_usage(folder)[1:],
    ) -> None:
        self._engine, self._alarms, self._host, self._usage = engine, alarms, host, usage
        self._folders, self._limit, self._full_days = folders, limit_gb * GB, full_days

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            StoreError: the database is away.
        """
        with reading(self._engine) as conn:
            standing = {(one.kind, one.subject): one for one in alerts.standing(conn)}
        for folder in self._folders:
            subject = f"disk:{self._host}:{folder}"
            used, free = self._usage(_existing(folder))
            # First: where nothing can be written any more, it is said all the same.
            self._say("disk", subject, *self._full(folder, free), standing.get(("disk", fitted(subject))), now)
            with writing(self._engine) as conn:
                storage.note(conn, subject, used, free, now)
                (disk,) = storage.measured(conn, now, subject)
            before = standing.get(("disk_fills", fitted(subject)))
            self._say("disk_fills", subject, *self._fills(folder, disk), before, now)

    def _full(self, folder: Path, free: int) -> tuple[float, Said]:
        """How much of the limit there is, and what is said below 1."""
        words = Phrase(
            "{host}: {free:.1f} GB are free at {folder}, less than alerts.disk_free_gb = {limit:g}. Make room: what "
            "cannot be written stops the line",
            host=self._host, free=free / GB, folder=str(folder), limit=self._limit / GB,
        )  # fmt: skip
        return free / self._limit if self._limit else math.inf, Said(words, "error", {"free_bytes": free})

    def _fills(self, folder: Path, disk: Stored) -> tuple[float, Said]:
        """As `_full`."""
        days, growth = math.inf if disk.days is None else disk.days, disk.growth or 0.0
        words = Phrase(
            "{host}: the disk at {folder} is full in about {days:.1f} days at today's rate of {growth:.1f} GB a day, "
            "sooner than alerts.disk_full_days = {limit:g}. Make room, or let pictures go earlier by [retention]",
            host=self._host, folder=str(folder), days=days, growth=growth / GB, limit=self._full_days,
        )  # fmt: skip
        said = Said(words, detail={"days": days, "bytes_a_day": round(growth)})
        return days / self._full_days if self._full_days else math.inf, said

    def _say(self, kind: str, subject: str, share: float, said: Said, before: Alert | None, now: datetime) -> None:
        if share >= (ENOUGH if before else 1):
            if before:
                self._alarms.cleared(kind, subject)
        elif before is None or now - before.seen_at >= AGAIN:
            self._alarms.raised(kind, subject, said.words, level=said.level, **said.detail)
