"""Pages of the dashboard as tests open them, without a browser."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from agent.store.users import User


def opened(page: str, actor: User, **asked: str) -> AppTest:
    """The page of that view at an address that asks for so much, drawn for `actor` without an exception."""
    found = AppTest.from_string(f"from dashboard.views import {page}\n{page}.show()\n", default_timeout=60)
    found.session_state["actor"] = actor
    for name, value in asked.items():
        found.query_params[name] = value
    found.run()
    assert not found.exception, (asked, found.exception)
    return found
