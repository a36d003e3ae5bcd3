"""Signing in and out in the browser: forms that post to routes of our own, which set a cookie no script can read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from agent.store.users import User

HERE = Path(__file__).parent / "door"
BEATS = 4  # how often a page says that somebody is there, while there is time until they count as gone
SLOWEST_S = 20.0


@cache
def _component(name: str, html: str) -> Any:
    return st.components.v2.component(
        f"goodpart_{name}",
        html=html,
        css=(HERE / "door.css").read_text(encoding="utf-8"),
        js="\n".join((HERE / f"{one}.js").read_text(encoding="utf-8") for one in ("post", name)),
        isolate_styles=False,  # a browser keeps passwords of forms that it can see
    )


def enter(pins: Sequence[str], *, password: bool) -> None:
    """The forms: a PIN for those who signed in at this terminal, name and password for everybody."""
    _component("enter", "<div class='door'></div>")(data={"pins": list(pins), "password": password}, key="enter")


def exchange(ticket: str) -> None:
    """Gets a session for who comes from the provider of identities."""
    _component("exchange", "<div class='door'>Signing in …</div>")(data={"ticket": ticket}, key="exchange")


def keep(user: User, idle_minutes: float, *, password: bool) -> None:
    """Who is signed in, in the sidebar, and the way out; it says that somebody is there while they are.

    With `password`, they have one, by which they may give themselves a PIN.
    """
    every = min(idle_minutes * 60 / BEATS, SLOWEST_S)
    with st.sidebar:
        _component("keep", "<div class='door'></div>")(
            data={"name": user.name, "role": user.role, "every": every * 1000, "password": password}, key="keep"
        )
