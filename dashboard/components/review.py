"""The review desk as one Streamlit component: its scripts joined to one module, its state as the server reads it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.desk import Data, Press, presses

HERE = Path(__file__).parent / "desk"
# In this order: the component's script is one module, so a name has to stand before it is used at the top level.
SCRIPTS = ("page", "presses", "queue", "heatmap", "stage", "histogram", "normals", "panels", "desk")


@cache
def _component() -> Any:
    return st.components.v2.component(
        "goodpart_review",
        html="<div class='desk' tabindex='-1'></div>",
        css=(HERE / "desk.css").read_text(encoding="utf-8"),
        js="\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
    )


def pressed(key: str) -> list[Press]:
    """What the browser has sent and not yet seen answered; to be asked before `draw`."""
    state: Any = st.session_state.get(key) or {}
    return presses((state.get("sent") or {}).get("presses"))


def draw(key: str, data: Data) -> None:
    """Draws the desk; `key` keeps it the same one from run to run."""
    _component()(data=data, key=key, default={"sent": {}}, on_sent_change=lambda: None)
