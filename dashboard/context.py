"""What every page shares: settings, database, live view, the acting user. Made once for the whole server.

Pages reach the database by `engine` and `reading` alone, and both begin a run anew at the sign-in where its session is
over or its user's role is another: a part of a page that draws itself again does not pass by the script's beginning.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

import streamlit as st
from sqlalchemy import Connection, Engine

from agent.live import Live, glance_of, open_live
from agent.service import claims, ranks, sessions
from agent.service.ranks import Refused
from agent.service.tries import Tries
from agent.settings import Settings, load, utc_now
from agent.store import credentials, users
from agent.store import engine as store_engine
from agent.store.blobs import BlobStore, open_blobs
from agent.store.errors import Conflict, NotFound
from agent.store.install import install_of
from agent.store.users import User
from dashboard.codes import shown
from dashboard.seals import Seal, Sealed
from dashboard.tables import plain
from dashboard.words import retold, say

Kind = Literal["session", "terminal"]


@cache
def settings() -> Settings:
    """The settings that the server was started with."""
    return load(None, os.environ)


@cache
def database() -> Engine:
    """The database, for whoever asks; raises StoreError."""
    found = store_engine.open_engine(settings().database.url)
    store_engine.check_revision(found)
    return found


@cache
def seal() -> Seal:
    """What signs our cookies."""
    with store_engine.reading(database()) as conn:
        return Seal(install_of(conn).secret)


def secure() -> bool:
    """Whether browsers reach us by TLS alone."""
    return settings().dashboard.origins[0].startswith("https:")


def cookie(kind: Kind) -> str:
    """The name of a cookie of ours. Browsers send one to every port of a host, so the port is part of it."""
    port = urlsplit(settings().dashboard.origins[0]).port
    return f"{'__Host-' if secure() else ''}goodpart_{kind}{f'_{port}' if port else ''}"


def idle() -> timedelta:
    """How long a session goes on untouched."""
    return timedelta(minutes=settings().dashboard.idle_minutes)


@cache
def tries() -> Tries:
    """The wrong passwords of late."""
    return Tries()


@cache
def live() -> Live:
    """The live view; says itself when Redis is missing."""
    return open_live(settings().redis.url)


@cache
def _install_id() -> str:
    with store_engine.reading(database()) as conn:
        return install_of(conn).install_id


def place(station_id: int) -> str:
    """What the live view calls a station."""
    return glance_of(_install_id(), station_id)


@cache
def blobs() -> BlobStore:
    """The evidence."""
    return open_blobs(settings().blobs)


def guarded(conn: Connection) -> bool:
    """Whether one has to sign in: there is a provider of identities, or somebody has a password."""
    return bool(settings().oidc.issuer) or credentials.any(conn)


def sealed(cookies: Mapping[str, str], now: datetime) -> Sealed | None:
    """What the session's cookie says; None: there is none that holds."""
    return seal().read("cookie", cookies.get(cookie("session")), now)


def entered(cookies: Mapping[str, str], now: datetime) -> tuple[Sealed | None, User | None]:
    """What the session's cookie says, and who is signed in by it."""
    found = sealed(cookies, now)
    if found is None:
        return None, None
    with store_engine.reading(database()) as conn:
        return found, _who(conn, found.session, now)


def allowed(cookies: Mapping[str, str]) -> bool:
    """Whether a request of these cookies is answered: somebody is signed in, with the role that their cookie says."""
    with store_engine.reading(database()) as conn:
        if not guarded(conn):
            return True
    found, user = entered(cookies, utc_now())
    return found is not None and user is not None and found.role == user.role


def enter() -> bool:
    """Finds out who acts on this run; False: they have to sign in first."""
    with store_engine.reading(database()) as conn:
        open_to_all = not guarded(conn)
    if open_to_all:
        pick_actor()
        return True
    now = utc_now()
    if "session" not in st.session_state:  # later the cookie is another, and the browser's alone
        found = sealed(st.context.cookies, now)
        st.session_state["session"] = found.session if found else None
    session_id: str | None = st.session_state["session"]
    if session_id is None:
        return False
    with store_engine.reading(database()) as conn:
        user = st.session_state["actor"] = _who(conn, session_id, now)
    if user is None:  # the page noticed before its next beat
        sessions.end(database(), session_id, "idle", now)
    return user is not None


def has_password(user: User) -> bool:
    """Whether they can prove who they are here, and not at a provider alone."""
    with reading() as conn:
        return credentials.of(conn, user.id).password is not None


def _who(conn: Connection, session_id: str, now: datetime) -> User | None:
    return sessions.who(conn, session_id, idle(), now)


def _still() -> bool:
    """Whether who acted when the page was drawn may still, and as what they were."""
    session_id = st.session_state.get("session")
    with store_engine.reading(database()) as conn:
        return not guarded(conn) if session_id is None else _who(conn, session_id, utc_now()) == actor()


def engine() -> Engine:
    """The database of a page; raises StoreError."""
    if not _still():
        st.rerun()
    return database()


@contextmanager
def reading() -> Iterator[Connection]:
    """A short read transaction."""
    with store_engine.reading(engine()) as conn:
        yield conn


def actor() -> User | None:
    """Who acts: who is signed in, or the local user picked in the sidebar; None where there are no users."""
    found: User | None = st.session_state.get("actor")
    return found


def may(least: str) -> bool:
    """Whether the acting user has at least this role."""
    user = actor()
    return user is not None and ranks.may(user, least)


def act(work: Callable[..., object], done: str) -> bool:
    """Does what a button asks for and says what came of it; whether it was done.

    Args:
        work: called once with a new idempotency `key` and `now`.
        done: what to say after it.
    """
    try:
        work(key=f"page-{uuid4()}", now=utc_now())
    except (Refused, Conflict, NotFound) as error:
        st.error(plain(retold(error.phrase)))
        return False
    st.toast(plain(done))
    return True


def pick_actor() -> None:
    """The sidebar's choice of the local user, where nobody signs in; kept in the address, so that a reload keeps it."""
    st.sidebar.caption(
        say(
            "Nobody signs in here: whoever uses this machine acts as whom they pick. "
            "From the first `goodpart users password NAME` on, everybody signs in."
        )
    )
    with reading() as conn:
        people = {user.name: user for user in users.all(conn)}
    if not people:
        st.sidebar.info(say("There are no users yet. Add the first: `goodpart users add NAME --role admin`"))
        return
    asked = st.query_params.get("user")
    names = list(people)
    start = names.index(asked) if asked in people else 0
    name = st.sidebar.selectbox(
        say("Who acts"), names, index=start, key="who", format_func=lambda one: f"{one} · {shown(people[one].role)}"
    )
    st.query_params["user"] = name
    before = actor()
    if before is not None and before.id != people[name].id:
        claims.give_back(engine(), before)  # or others would wait for what nobody looks at
    st.session_state["actor"] = people[name]
