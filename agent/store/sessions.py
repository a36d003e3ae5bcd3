"""Who is signed in, at which terminal, and when they last touched a page."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read, read_all, values
from agent.store.tables import credential, session, user

Method = Literal["password", "pin", "provider"]


@dataclass(frozen=True, slots=True)
class Session:
    """One person at one terminal, until they leave."""

    id: str
    user_id: int
    terminal: str
    method: Method
    opened_at: datetime
    seen_at: datetime
    ended_at: datetime | None = None


def open(conn: Connection, user_id: int, terminal: str, method: Method, now: datetime) -> Session:
    """Begins one."""
    made = Session(secrets.token_hex(16), user_id, terminal, method, now, now)
    conn.execute(sa.insert(session).values(**values(made)))
    return made


def find(conn: Connection, session_id: str) -> Session | None:
    """The session of that id, ended or not."""
    found = conn.execute(sa.select(*columns(session, Session)).where(session.c.id == session_id)).one_or_none()
    return read(Session, found) if found else None


def seen(conn: Connection, session_id: str, now: datetime) -> None:
    """Somebody is still there."""
    conn.execute(sa.update(session).where(session.c.id == session_id).values(seen_at=now))


def end(conn: Connection, session_id: str, now: datetime) -> bool:
    """Ends it; whether it was not over before."""
    mine = (session.c.id == session_id) & session.c.ended_at.is_(None)
    return conn.execute(sa.update(session).where(mine).values(ended_at=now)).rowcount == 1


def end_all(conn: Connection, user_id: int, now: datetime) -> None:
    """Ends all of a user's."""
    theirs = (session.c.user_id == user_id) & session.c.ended_at.is_(None)
    conn.execute(sa.update(session).where(theirs).values(ended_at=now))


def forget(conn: Connection, user_id: int) -> None:
    """Deletes all of a user's: they signed in nowhere."""
    conn.execute(sa.delete(session).where(session.c.user_id == user_id))


def open_of(conn: Connection, user_id: int) -> bool:
    """Whether a user has one that nobody ended."""
    query = sa.select(sa.exists().where(session.c.user_id == user_id, session.c.ended_at.is_(None)))
    return bool(conn.execute(query).scalar_one())


def untouched(conn: Connection, since: datetime) -> list[Session]:
    """Those that nobody ended, though nobody touched a page of them after `since`."""
    query = sa.select(*columns(session, Session)).where(session.c.seen_at <= since, session.c.ended_at.is_(None))
    return read_all(Session, conn.execute(query.order_by(session.c.seen_at)))


def with_pin(conn: Connection, terminal: str, since: datetime, failures: int) -> list[str]:
    """Whose PIN does at a terminal, by name: they signed in there in full since then, and missed less than so often."""
    row = session.c
    full = sa.exists().where(
        row.user_id == user.c.id, row.terminal == terminal, row.opened_at >= since, row.method != "pin"
    )
    query = (
        sa.select(user.c.name)
        .join(credential, credential.c.user_id == user.c.id)
        .where(user.c.disabled_at.is_(None), credential.c.pin.is_not(None), credential.c.pin_failures < failures, full)
        .order_by(user.c.name)
    )
    return list(conn.execute(query).scalars())
