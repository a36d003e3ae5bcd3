"""The board of the Line page as one Streamlit component: tiles that change in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.components.module import component, spoken
from dashboard.words import later

WORDS = {
    "toReview": later("To review"),
    "notOfNow": later("✖ Nothing here is of now. {why}"),
    "ofBefore": later("✖ Nothing here is of now, but of {seconds} s ago. {why}"),
    "noServer": later("The dashboard's server does not answer."),
}


def draw(data: Mapping[str, Any]) -> None:
    """Draws the board, or says what is wrong where `data` has only `trouble`."""
    board = component("board", "<div class='board'></div>", "board/board", "desk/page", "board/board")
    board(data={**data, "words": spoken(WORDS)}, key="board")
