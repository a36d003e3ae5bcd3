"""The disk: free space where this host keeps blobs and an SQLite file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from agent.alerts.base import Alarms
from agent.settings import Settings
from agent.store import alerts
from agent.store.alerts import fitted
from agent.store.engine import reading

GB = 1e9
ENOUGH = 1.1  # times the limit: what was raised ends there
AGAIN = timedelta(hours=1)  # what lasts is said again so often: agent.alerts.watch ends what nobody says any more


def folders(settings: Settings) -> list[Path]:
    """Where this host keeps what grows, one folder a disk."""
    found = [] if settings.blobs.url else [settings.blobs.directory]
    database = make_url(settings.database.url)
    if database.get_backend_name() == "sqlite":
        found.append(Path(database.database or "").parent)
    disks = {_existing(folder).stat().st_dev: folder.resolve() for folder in reversed(found)}
    return list(disks.values())


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.resolve().parents) if one.exists())


class DiskWatch:
    """Raises `disk` while less than `limit_gb` are free; for each host of its own.

    Args:
        engine: the database.
        alarms: takes it.
        host: this one.
        folders: looked at.
        limit_gb: free space below which somebody must look, in GB (10^9 bytes); 0: never.
        free: bytes free where a folder is.
    """

    def __init__(
        self,
        engine: Engine,
        alarms: Alarms,
        *,
        host: str,
        folders: list[Path],
        limit_gb: float,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._engine, self._alarms, self._host, self._free = engine, alarms, host, free
        self._folders, self._limit = folders, limit_gb * GB

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            StoreError: the database is away.
        """
        with reading(self._engine) as conn:
            standing = {one.subject: one for one in alerts.standing(conn) if one.kind == "disk"}
        for folder in self._folders:
            subject = f"disk:{self._host}:{folder}"
            before = standing.get(fitted(subject))
            free = self._free(_existing(folder))
            if free >= self._limit * (ENOUGH if before else 1):
                if before:
                    self._alarms.cleared("disk", subject)
            elif before is None or now - before.seen_at >= AGAIN:
                words = (
                    f"{self._host}: {free / GB:.1f} GB are free at {folder}, less than alerts.disk_free_gb = "
                    f"{self._limit / GB:g}. Make room: what cannot be written stops the line"
                )
                self._alarms.raised("disk", subject, words, level="error", free_bytes=free)
