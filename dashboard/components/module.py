"""A Streamlit component of our own: its scripts joined to one module, beside its style."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


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
