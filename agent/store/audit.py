"""The audit trail: each event carries the hash of the one before it, so a change of the past shows.

What it cannot show is that the newest events were cut off: compare `last` with a copy kept elsewhere for that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read, read_all, serialise
from agent.store.tables import audit_event

FIRST = "0" * 64
LOCK = 0x61756469  # "audi"
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """Who did what to what; `user_id` None is the agent itself."""

    id: int
    at: datetime
    user_id: int | None
    action: str
    subject: str
    detail: Mapping[str, Any]
    previous: str
    hash: str


def take_turn(conn: Connection) -> None:
    """Waits until no other transaction appends, and keeps others from it until this one ends."""
    serialise(conn, LOCK)


def append(
    conn: Connection, user_id: int | None, action: str, subject: str, detail: Mapping[str, Any], now: datetime
) -> str:
    """Adds an event to the chain and returns its hash. Other writers wait until this transaction ends.

    Raises:
        ValueError: `detail` holds an infinite number or NaN, which JSON does not know.
    """
    take_turn(conn)
    detail = json.loads(
        json.dumps(detail, allow_nan=False)
    )  # as it will be read back: keys are texts, tuples are lists
    previous = last(conn)
    digest = _hash(previous, now, user_id, action, subject, detail)
    conn.execute(
        sa.insert(audit_event).values(
            at=now,
            user_id=user_id,
            action=action,
            subject=subject,
            detail=detail,
            previous=previous,
            hash=digest,
        )
    )
    return digest


def last(conn: Connection) -> str:
    """The newest event's hash."""
    query = sa.select(audit_event.c.hash).order_by(audit_event.c.id.desc()).limit(1)
    return conn.execute(query).scalar_one_or_none() or FIRST


def verify(conn: Connection) -> int | None:
    """Recomputes the chain; the id of the first event that was changed or stands behind a missing one, or None."""
    previous, seen = FIRST, 0
    while True:
        query = sa.select(*columns(audit_event, Event)).where(audit_event.c.id > seen).order_by(audit_event.c.id)
        rows = conn.execute(query.limit(PAGE)).all()
        for event in (read(Event, row) for row in rows):
            wanted = _hash(previous, event.at, event.user_id, event.action, event.subject, event.detail)
            if event.previous != previous or event.hash != wanted:
                return event.id
            previous, seen = event.hash, event.id
        if len(rows) < PAGE:
            return None


def recent(
    conn: Connection,
    limit: int = 50,
    *,
    user_id: int | None = None,
    action: str | None = None,
    subject: str | None = None,
    before: int | None = None,
) -> list[Event]:
    """The newest events, newest first.

    Args:
        conn: any transaction.
        limit: at most so many.
        user_id: only what this user did.
        action: only this action.
        subject: only what was done to this one.
        before: only events with a smaller id: where the last page ended.
    """
    row = audit_event.c
    query = sa.select(*columns(audit_event, Event)).order_by(row.id.desc()).limit(limit)
    for column, wanted in ((row.user_id, user_id), (row.action, action), (row.subject, subject)):
        if wanted is not None:
            query = query.where(column == wanted)
    return read_all(Event, conn.execute(query if before is None else query.where(row.id < before)))


def actions(conn: Connection, newest: int = 10_000) -> list[str]:
    """The actions among so many of the newest events, by name: what it costs does not grow with the trail."""
    last = sa.select(audit_event.c.action).order_by(audit_event.c.id.desc()).limit(newest).subquery()
    return list(conn.execute(sa.select(last.c.action).distinct().order_by(last.c.action)).scalars())


def _hash(
    previous: str, at: datetime, user_id: int | None, action: str, subject: str, detail: Mapping[str, Any]
) -> str:
    event = [previous, at.astimezone(UTC).isoformat(), user_id, action, subject, dict(detail)]
    return hashlib.sha256(json.dumps(event, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
