"""The board of the Line page as one Streamlit component: tiles that change in place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent
SCRIPTS = ("desk/page", "board/board")


@cache
def _component() -> Any:
    return st.components.v2.component(
        "goodpart_board",
        html="<div class='board'></div>",
        css=(HERE / "board/board.css").read_text(encoding="utf-8"),
        js="\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS),
    )


def draw(data: Mapping[str, Any]) -> None:
    """Draws the board, or says what is wrong where `data` has only `trouble`."""
    _component()(data=dict(data), key="board")
