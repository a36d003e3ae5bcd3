"""Signing in and out in the browser: forms that post to routes of our own, which set a cookie no script can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import streamlit as st

from agent.store.users import User
from dashboard.codes import shown
from dashboard.components.module import component, spoken
from dashboard.words import later

POST = {
    "unusable": later("no usable answer"),
    "noAnswer": later("the dashboard does not answer: try again"),
    "password": later("Password"),
}
ENTER = {
    **POST,
    "pin": later("PIN"),
    "who": later("Who"),
    "goOn": later("Go on"),
    "name": later("Name"),
    "signIn": later("Sign in"),
}
EXCHANGE = {**POST, "signingIn": later("Signing in …")}
KEEP = {
    **POST,
    "newPin": later("New PIN"),
    "pinSet": later("Your PIN is set. It does here, until the shift is over."),
    "setPin": later("Set it"),
    "ownPin": later("My PIN for this terminal"),
    "newPassword": later("New password"),
    "again": later("New password again"),
    "notSame": later("This is not the same password as above."),
    "setPassword": later("Set it and sign in anew"),
    "ownPassword": later("My password"),
    "leave": later("Sign out or switch user"),
}
BEATS = 4  # how often a page says that somebody is there, while there is time until they count as gone
SLOWEST_S = 20.0


def _form(name: str, words: Mapping[str, str], /, **data: object) -> None:
    # A browser keeps passwords of forms that it can see.
    form = component(name, "<div class='door'></div>", "door/door", "door/post", f"door/{name}", isolate_styles=False)
    form(data={**data, "words": spoken(words)}, key=name)


def enter(pins: Sequence[str], *, password: bool) -> None:
    """The forms: a PIN for those who signed in at this terminal, name and password for everybody."""
    _form("enter", ENTER, pins=list(pins), password=password)


def exchange(ticket: str) -> None:
    """Gets a session for who comes from the provider of identities."""
    _form("exchange", EXCHANGE, ticket=ticket)


def keep(user: User, page: str, idle: timedelta, *, password: bool) -> None:
    """Who is signed in, in the sidebar, and the way out; it says that somebody is there while they are.

    Args:
        user: who is signed in.
        page: the mark of the session that the page was drawn for.
        idle: how long it goes on untouched.
        password: they have one, by which they may give themselves a PIN or another password.
    """
    every = min(idle.total_seconds() / BEATS, SLOWEST_S)
    with st.sidebar:
        _form(
            "keep", KEEP, name=user.name, role=shown(user.role), page=page, every=every * 1000, password=password,
        )  # fmt: skip
