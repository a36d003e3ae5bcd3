"""The board of the Line page as one Streamlit component: tiles that change in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.components.module import component


def draw(data: Mapping[str, Any]) -> None:
    """Draws the board, or says what is wrong where `data` has only `trouble`."""
    board = component("board", "<div class='board'></div>", "board/board", "desk/page", "board/board")
    board(data=dict(data), key="board")
