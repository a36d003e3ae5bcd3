"""What every page shares: settings, database, live view, the acting user. Made once for the whole server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from uuid import uuid4

import streamlit as st
from sqlalchemy import Connection, Engine

from agent.live import Live, open_live
from agent.service import claims
from agent.service.ranks import Refused
from agent.settings import Settings, load, utc_now
from agent.store import engine as store_engine
from agent.store import users
from agent.store.blobs import BlobStore, open_blobs
from agent.store.errors import Conflict, NotFound
from agent.store.users import User

RANKS = ("viewer", "operator", "engineer", "admin")


@cache
def settings() -> Settings:
    """The settings that the server was started with."""
    return load(None, os.environ)


@cache
def engine() -> Engine:
    """The database; raises StoreError."""
    found = store_engine.open_engine(settings().database.url)
    store_engine.check_revision(found)
    return found


@cache
def live() -> Live:
    """The live view; says itself when Redis is missing."""
    return open_live(settings().redis.url)


@cache
def blobs() -> BlobStore:
    """The evidence."""
    return open_blobs(settings().blobs)


@contextmanager
def reading() -> Iterator[Connection]:
    """A short read transaction."""
    with store_engine.reading(engine()) as conn:
        yield conn


def actor() -> User | None:
    """Who acts on this page: the local user picked in the sidebar; None where there are no users."""
    found: User | None = st.session_state.get("actor")
    return found


def may(least: str) -> bool:
    """Whether the acting user has at least this role."""
    user = actor()
    return user is not None and RANKS.index(user.role) >= RANKS.index(least)


def act(work: Callable[..., object], done: str) -> bool:
    """Does what a button asks for and says what came of it; whether it was done.

    Args:
        work: called once with a new idempotency `key` and `now`.
        done: what to say after it.
    """
    try:
        work(key=f"page-{uuid4()}", now=utc_now())
    except (Refused, Conflict, NotFound) as error:
        st.error(str(error))
        return False
    st.toast(done)
    return True


def pick_actor() -> None:
    """The sidebar's choice of the local user; kept in the address, so that a reload keeps it."""
    with reading() as conn:
        people = {user.name: user for user in users.all(conn)}
    if not people:
        st.sidebar.info("There are no users yet. Add the first: `goodpart users add NAME --role admin`")
        return
    asked = st.query_params.get("user")
    names = list(people)
    start = names.index(asked) if asked in people else 0
    name = st.sidebar.selectbox(
        "Who acts", names, index=start, key="who", format_func=lambda one: f"{one} · {people[one].role}"
    )
    st.query_params["user"] = name
    before = actor()
    if before is not None and before.id != people[name].id:
        claims.give_back(engine(), before)  # or others would wait for what nobody looks at
    st.session_state["actor"] = people[name]
