"""Signing in and out in the browser: forms that post to routes of our own, which set a cookie no script can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import streamlit as st

from agent.store.users import User
from dashboard.components.module import component

BEATS = 4  # how often a page says that somebody is there, while there is time until they count as gone
SLOWEST_S = 20.0


def _form(name: str, html: str = "<div class='door'></div>") -> Any:
    # A browser keeps passwords of forms that it can see.
    return component(name, html, "door/door", "door/post", f"door/{name}", isolate_styles=False)


def enter(pins: Sequence[str], *, password: bool) -> None:
    """The forms: a PIN for those who signed in at this terminal, name and password for everybody."""
    _form("enter")(data={"pins": list(pins), "password": password}, key="enter")


def exchange(ticket: str) -> None:
    """Gets a session for who comes from the provider of identities."""
    _form("exchange", "<div class='door'>Signing in …</div>")(data={"ticket": ticket}, key="exchange")


def keep(user: User, page: str, idle: timedelta, *, password: bool) -> None:
    """Who is signed in, in the sidebar, and the way out; it says that somebody is there while they are.

    Args:
        user: who is signed in.
        page: the mark of the session that the page was drawn for.
        idle: how long it goes on untouched.
        password: they have one, by which they may give themselves a PIN.
    """
    every = min(idle.total_seconds() / BEATS, SLOWEST_S)
    told = {"name": user.name, "role": user.role, "page": page, "every": every * 1000, "password": password}
    with st.sidebar:
        _form("keep")(data=told, key="keep")
