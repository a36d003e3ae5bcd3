"""Signing in and out. Nobody is signed in by anything else, and whoever is, stays so only while they are there.

A PIN is for a shared terminal: it does where its user has signed in with the password, or at the provider of
identities, within FULL, until PIN_TRIES wrong ones came in a row. Then it takes the password again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.service import passwords
from agent.service.ranks import Refused
from agent.service.tries import Tries
from agent.store import audit, claims, credentials, sessions, users
from agent.store.engine import reading, writing
from agent.store.sessions import Method, Session
from agent.store.users import User

log = structlog.get_logger()
FULL = timedelta(hours=12)  # a shift and its overtime, over midnight too
PIN_TRIES = 5
WRONG = Phrase("this name and password do not go together")
WRONG_PIN = Phrase("this PIN is wrong, or it takes the password again")


class NotSignedIn(Refused):
    """Who somebody says they are is not proven; the message says no more than they may know."""


def by_password(engine: Engine, tries: Tries, name: str, password: str, *, terminal: str, now: datetime) -> Session:
    """Signs in who knows the password.

    Raises:
        NotSignedIn: they do not, or there were too many wrong ones just now.
    """
    user, stored = prove(engine, tries, name, password, now)
    with writing(engine) as conn:
        audit.take_turn(conn)
        if credentials.of(conn, user.id).password != stored:
            raise NotSignedIn(WRONG)
        credentials.count_pin(conn, user.id, right=True)
        return _open(conn, user.id, terminal, "password", now)


def prove(engine: Engine, tries: Tries, name: str, password: str, now: datetime) -> tuple[User, str | None]:
    """Who knows the password, and its hash.

    Raises:
        NotSignedIn: nobody of that name does, or there were too many wrong ones just now.
    """
    if wait := tries.begin(name, now):
        raise NotSignedIn("too many wrong passwords: try again in {n} s", n=max(1, round(wait.total_seconds())))
    with reading(engine) as conn:
        user = users.find(conn, name)
        stored = credentials.of(conn, user.id).password if user else None
    if not passwords.matches(stored, password) or user is None or user.disabled_at is not None:
        # Not what was typed as the name: it may be the password.
        log.warning("sign_in_refused", method="password", user=user.id if user else None)
        raise NotSignedIn(WRONG)
    tries.forget(name)
    return user, stored


def by_pin(engine: Engine, name: str, pin: str, *, terminal: str, now: datetime) -> Session:
    """Signs in who knows the PIN, at a terminal where it does.

    Raises:
        NotSignedIn: it is wrong, or does not do here, or not now.
    """
    with reading(engine) as conn:
        known = name in pin_users(conn, terminal, now)
        user = users.find(conn, name)
        stored = credentials.of(conn, user.id).pin if user and known else None
    right, failed = passwords.matches(stored, pin), 0
    if user is not None and stored is not None:  # or whoever makes up names would keep others from writing
        with writing(engine) as conn:
            audit.take_turn(conn)
            # Again, now that nobody else counts: of many tries at once, PIN_TRIES are looked at.
            if name in pin_users(conn, terminal, now):
                right = right and credentials.of(conn, user.id).pin == stored
                failed = credentials.count_pin(conn, user.id, right=right)
                if not failed:
                    return _open(conn, user.id, terminal, "pin", now)
                if failed == PIN_TRIES:
                    audit.append(conn, user.id, "session.pin_locked", f"user:{user.id}", {"failures": failed}, now)
    log.warning("sign_in_refused", method="pin", user=user.id if user else None, failures=failed)
    raise NotSignedIn(WRONG_PIN)


def by_provider(engine: Engine, user_id: int, *, terminal: str, now: datetime) -> Session:
    """Signs in whom the provider of identities has named.

    Raises:
        NotSignedIn: they are disabled.
    """
    with writing(engine) as conn:
        audit.take_turn(conn)
        credentials.count_pin(conn, user_id, right=True)
        return _open(conn, user_id, terminal, "provider", now)


def _open(conn: Connection, user_id: int, terminal: str, method: Method, now: datetime) -> Session:
    if users.get(conn, user_id).disabled_at is not None:
        raise NotSignedIn(WRONG)
    made = sessions.open(conn, user_id, terminal, method, now)
    audit.append(conn, user_id, "session.open", f"user:{user_id}", {"method": method}, now)
    return made


def pin_users(conn: Connection, terminal: str | None, now: datetime) -> list[str]:
    """Whose PIN does at this terminal now."""
    return sessions.with_pin(conn, terminal, now - FULL, PIN_TRIES) if terminal else []


def who(conn: Connection, session_id: str, idle: timedelta, now: datetime) -> User | None:
    """Who is signed in, as the users' table has them now; None: nobody is any more."""
    found = sessions.find(conn, session_id)
    if found is None or found.ended_at is not None or found.seen_at + idle <= now:
        return None
    user = users.get(conn, found.user_id)
    return user if user.disabled_at is None else None


def seen(engine: Engine, session_id: str, now: datetime) -> None:
    """Somebody touched a page of this session."""
    with writing(engine) as conn:
        sessions.seen(conn, session_id, now)


def end(engine: Engine, session_id: str, why: str, now: datetime) -> None:
    """Signs out, and gives back what the person had on screen, or others would wait for what nobody looks at."""
    with writing(engine) as conn:
        audit.take_turn(conn)
        found = sessions.find(conn, session_id)
        if found is not None:
            _end(conn, found, why, now)


def end_idle(engine: Engine, idle: timedelta, now: datetime) -> None:
    """Signs out whoever touched no page for so long: a browser that was closed says nothing."""
    with writing(engine) as conn:
        audit.take_turn(conn)
        for one in sessions.untouched(conn, now - idle):
            _end(conn, one, "idle", now)


def _end(conn: Connection, one: Session, why: str, now: datetime) -> None:
    if sessions.end(conn, one.id, now):
        if not sessions.open_of(conn, one.user_id):  # elsewhere they look at it still
            claims.give_back(conn, one.user_id)
        audit.append(conn, one.user_id, "session.end", f"user:{one.user_id}", {"why": why}, now)
