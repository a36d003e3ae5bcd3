"""Retention: how long evidence is kept, and how much of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.base import Alarms
from agent.phrases import Phrase
from agent.service.dead_letters import needed
from agent.settings import Retention as Limits
from agent.store import evidence, storage
from agent.store.engine import reading, writing
from agent.store.evidence import Old
from agent.store.references import page_after

log = structlog.get_logger()
CHUNK = 25  # rows of one writing transaction: their indexes make them heavy
PAGE = 1000  # dead letters of one look: rows without bytes, which may be most, are read only once
SUBJECT = "blobs:evidence"


@dataclass(frozen=True, slots=True)
class Released:
    """What was let go: items, dead letters, and bytes that neither names any more."""

    items: int = 0
    dead_letters: int = 0
    bytes: int = 0

    def __add__(self, other: Released) -> Released:
        return Released(self.items + other.items, self.dead_letters + other.dead_letters, self.bytes + other.bytes)


class Retention:
    """Lets go the evidence of the oldest closed items and dead letters, by age, then by bytes; the sweeper deletes it.

    Never that of an open, escalated, sampled or pinned item, nor of a dead letter that an agent was asked to show or
    publish; it alarms where these alone exceed the limit.

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
        days = self._limits.evidence_days
        done = self._release(now, before=now - timedelta(days=days)) if days else Released()
        done += self._within_bytes(now)
        if done.items or done.dead_letters:
            log.info("evidence_released", items=done.items, dead_letters=done.dead_letters, bytes=done.bytes)
        return done

    def _within_bytes(self, now: datetime) -> Released:
        limit = int(self._limits.evidence_gb * 1e9)
        excess = self._held() - limit if limit else 0
        done = self._release(now, enough=excess) if excess > 0 else Released()
        freed = done.bytes
        if self._stopping():
            return done
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
        return done

    def _release(self, now: datetime, *, before: datetime | None = None, enough: int | None = None) -> Released:
        """Oldest first, until `enough` bytes are freed."""
        done = Released()
        items = self._each(lambda conn, last: evidence.releasable(conn, after=last, limit=CHUNK, closed_before=before))
        letters = self._each(
            lambda conn, last: evidence.releasable_letters(conn, after=last, limit=PAGE, created_before=before)
        )
        oldest = heapq.merge(items, letters)
        while not self._stopping() and (enough is None or done.bytes < enough):
            chunk = list(islice(oldest, CHUNK))
            if not chunk:
                break
            with writing(self._engine) as conn:
                done += _let_go(conn, chunk, now)
        return done

    def _each(self, page: Callable[[Connection, int], list[Old]]) -> Iterator[Old]:
        last = 0
        while not self._stopping():
            with reading(self._engine) as conn:
                found = page(conn, last)
            if not found:
                return
            yield from found
            last = found[-1].id

    def _held(self) -> int:
        held, last = 0, ""
        while not self._stopping():
            with reading(self._engine) as conn:
                page = page_after(conn, last)
                if page is None:
                    break
                held += evidence.held_bytes(conn, page)
            last = page.last
        return held


def _let_go(conn: Connection, chunk: Sequence[Old], now: datetime) -> Released:
    items, of_items = evidence.release(conn, [one.id for one in chunk if not one.is_letter], now)
    letters, of_letters = evidence.release_letters(conn, [one.id for one in chunk if one.is_letter], needed)
    return Released(items, letters, evidence.unnamed_bytes(conn, of_items | of_letters))
