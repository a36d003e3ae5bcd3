"""What a page says while a person waits: after a moment what it is at, and how far, where that can be counted."""

from __future__ import annotations

from contextlib import AbstractContextManager

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException

from dashboard.words import say

DRAWN = 20  # times that a bar moves


def at(words: str) -> AbstractContextManager[None]:
    """Says so inside, where it takes longer than half a second."""
    return st.spinner(words)


class Steps:
    """How far an act of many steps is, each of which is done by itself.

    Whatever is pressed meanwhile waits for its end: Streamlit begins a run anew wherever a page draws, and half of the
    act would be done, with nothing said of it.
    """

    def __init__(self, total: int, words: str) -> None:
        self._total, self._words = total, words
        self._bar = st.progress(0.0, words)
        self._pressed: RerunException | StopException | None = None

    def __call__(self, n: int) -> None:
        """Draws that so many steps are done, where the bar moves."""
        if self._pressed or n * DRAWN // self._total == (n - 1) * DRAWN // self._total:
            return
        words = say("{words}: {n:,} of {total:,}", words=self._words, n=n, total=self._total)
        try:
            self._bar.progress(min(1.0, n / self._total), words)
        except (RerunException, StopException) as pressed:
            self._pressed = pressed

    def end(self) -> None:
        """Lets go on what was pressed meanwhile; call it once all is written down."""
        if self._pressed:
            raise self._pressed
        self._bar.empty()
