"""Parts of a page that draw themselves again by themselves, and say so in their place where the store fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import streamlit as st

from agent.store.errors import StoreError
from dashboard.style import CSS
from dashboard.tables import plain
from dashboard.words import later, retold, say

P = ParamSpec("P")
RELOAD = later("This page comes back with a reload.")
ITSELF = later("This part comes back by itself.")


@contextmanager
def told(after: str) -> Iterator[None]:
    """Says what is wrong with the store, and how it goes on (`after`), below what was drawn until then."""
    try:
        yield
    except StoreError as error:
        st.html(f"<style>{CSS}</style>")  # it may stand before the page's own
        st.error(plain(retold(error.phrase)), icon=":material/database_off:")
        st.caption(say("The agent keeps what is in flight and goes on by itself. {after}", after=say(after)))


def fragment(run_every: str | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """As `st.fragment`, for one that reads the database: it may be away."""
    after = ITSELF if run_every else RELOAD

    def decorated(draw: Callable[P, None]) -> Callable[P, None]:
        @wraps(draw)
        def drawn(*args: P.args, **kwargs: P.kwargs) -> None:
            with told(after):
                draw(*args, **kwargs)

        return st.fragment(drawn, run_every=run_every)

    return decorated
