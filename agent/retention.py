"""Retention: how long evidence is kept, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.phrases import Phrase
from agent.settings import Retention as Limits
from agent.store import evidence, storage
from agent.store.engine import reading, writing
from agent.store.references import page_after

log = structlog.get_logger()
CHUNK = 25  # rows of one writing transaction: their indexes make them heavy
SUBJECT = "blobs:evidence"


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go: items, dead letters, and bytes that no item names any more."""

    items: int = 0
    dead_letters: int = 0
    bytes: int = 0


class Retention:
    """Lets go the evidence of the oldest closed items, by age, then by bytes; the sweeper deletes it.

    Never that of an open, escalated, sampled or pinned item; it alarms where these alone exceed the limit.

    Args:
        engine: the database.
        limits: the section [retention].
        alarms: hear of it where what must be kept exceeds the limit.
        stopping: asked between transactions; true ends it.
    """

    def __init__(
        self, engine: Engine, limits: Limits, alarms: Alarms, *, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine, self._limits, self._alarms, self._stopping = engine, limits, alarms, stopping

    def apply(self, now: datetime) -> Released:
        """Goes through all of it once, in short transactions.

        Raises:
            StoreError: the database is away; what was let go until then is.
        """
        items = letters = freed = 0
        if self._limits.evidence_days:
            before = now - timedelta(days=self._limits.evidence_days)
            items, freed = self._release(now, closed_before=before)
            letters = self._release_dead_letters(before)
        by_bytes = self._within_bytes(now)
        done = Released(items + by_bytes.items, letters, freed + by_bytes.bytes)
        if done.items or done.dead_letters:
            log.info("evidence_released", items=done.items, dead_letters=done.dead_letters, bytes=done.bytes)
        return done

    def _within_bytes(self, now: datetime) -> Released:
        limit = int(self._limits.evidence_gb * 1e9)
        excess = self._held() - limit if limit else 0
        items, freed = self._release(now, enough=excess) if excess > 0 else (0, 0)
        if self._stopping():
            return Released(items, bytes=freed)
        if limit:
            with writing(self._engine) as conn:
                storage.note(conn, storage.EVIDENCE, limit + excess - freed, max(0, freed - excess), now)
        if freed < excess:
            held = (limit + excess - freed) / 1e9
            self._alarms.raised(
                "disk", SUBJECT,
                Phrase(
                    "evidence that must be kept has {held:.1f} GB, more than retention.evidence_gb = {limit:g}: review "
                    "what is open, unpin items, or raise the limit",
                    held=held, limit=self._limits.evidence_gb,
                ),
                held_gb=round(held, 3), limit_gb=self._limits.evidence_gb,
            )  # fmt: skip
        else:
            self._alarms.cleared("disk", SUBJECT)
        return Released(items, bytes=freed)

    def _release(
        self, now: datetime, *, closed_before: datetime | None = None, enough: int | None = None
    ) -> tuple[int, int]:
        """Oldest first, until `enough` bytes are freed; returns how many items and bytes."""
        last = items = freed = 0
        while not self._stopping() and (enough is None or freed < enough):
            with reading(self._engine) as conn:
                ids = evidence.releasable(conn, after=last, limit=CHUNK, closed_before=closed_before)
            if not ids:
                break
            with writing(self._engine) as conn:
                n, n_bytes = evidence.release(conn, ids, now)
            last, items, freed = ids[-1], items + n, freed + n_bytes
        return items, freed

    def _release_dead_letters(self, before: datetime) -> int:
        n = 0
        while not self._stopping():
            with reading(self._engine) as conn:
                ids = evidence.old_dead_letters(conn, before, CHUNK)
            if not ids:
                break
            with writing(self._engine) as conn:
                evidence.release_dead_letters(conn, ids)
            n += len(ids)
        return n

    def _held(self) -> int:
        held, last = 0, ""
        while not self._stopping():
            with reading(self._engine) as conn:
                page = page_after(conn, last)
                if page is None:
                    break
                held += evidence.bytes_of_items(conn, page)
            last = page.last
        return held
