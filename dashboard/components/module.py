"""A Streamlit component of our own: its scripts joined to one module, beside its style."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.words import say

HERE = Path(__file__).parent


def spoken(words: Mapping[str, Any]) -> dict[str, Any]:
    """A component's words by name, as its scripts get them: in the server's language; lists and dicts are gone into."""
    return {name: _spoken(one) for name, one in words.items()}


def _spoken(one: Any) -> Any:
    if isinstance(one, Mapping):
        return spoken(one)
    return say(one) if isinstance(one, str) else [_spoken(each) for each in one]


@cache
def component(name: str, html: str, style: str, *scripts: str, isolate_styles: bool = True) -> Any:
    """The component of that name, made once for the server.

    Args:
        name: within ours.
        html: what it begins with.
        style: its style sheet, below this folder, without `.css`.
        scripts: likewise, without `.js`. They become one module: a name has to stand before its use at the top level.
        isolate_styles: keep the page's style out of it.
    """
    return st.components.v2.component(
        f"goodpart_{name}",
        html=html,
        css=(HERE / f"{style}.css").read_text(encoding="utf-8"),
        js="\n".join((HERE / f"{one}.js").read_text(encoding="utf-8") for one in scripts),
        isolate_styles=isolate_styles,
    )
