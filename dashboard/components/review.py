"""The review desk as one Streamlit component, its state as the server reads it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.components.module import component
from dashboard.desk import Data, Press, presses

SCRIPTS = ("page", "presses", "queue", "heatmap", "stage", "histogram", "normals", "panels", "desk")


def pressed(key: str) -> list[Press]:
    """What the browser has sent and not yet seen answered; to be asked before `draw`."""
    state: Any = st.session_state.get(key) or {}
    return presses((state.get("sent") or {}).get("presses"))


def draw(key: str, data: Data) -> None:
    """Draws the desk; `key` keeps it the same one from run to run."""
    desk = component(
        "review", "<div class='desk' tabindex='-1'></div>", "desk/desk", *(f"desk/{one}" for one in SCRIPTS)
    )
    desk(data=data, key=key, default={"sent": {}}, on_sent_change=lambda: None)
