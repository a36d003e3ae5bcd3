"""What a page says while one waits, and that nothing that is pressed meanwhile cuts an act in two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from streamlit.runtime.scriptrunner import RerunException
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

from dashboard import busy


class Bar:
    """A progress bar; somebody presses something while it is drawn the `pressed`-th time."""

    def __init__(self, pressed: int = 0) -> None:
        self.drawn, self.pressed, self.gone = list[tuple[float, str]](), pressed, False

    def progress(self, share: float, words: str) -> None:
        self.drawn.append((share, words))
        if len(self.drawn) == self.pressed:
            raise RerunException(RerunData())

    def empty(self) -> None:
        self.gone = True


def _steps(monkeypatch: pytest.MonkeyPatch, bar: Bar, total: int) -> busy.Steps:
    monkeypatch.setattr("streamlit.progress", lambda share, words: bar)
    return busy.Steps(total, "Judging")


@pytest.mark.parametrize(("total", "drawn"), [(1, 1), (7, 7), (500, busy.DRAWN)])
def test_a_bar_moves_a_few_times_to_its_end(monkeypatch: pytest.MonkeyPatch, total: int, drawn: int) -> None:
    bar = Bar()
    steps = _steps(monkeypatch, bar, total)
    for n in range(1, total + 1):
        steps(n)
    steps.end()
    assert len(bar.drawn) == drawn and bar.gone
    assert bar.drawn[-1] == (1.0, f"Judging: {total} of {total}")


def test_what_is_pressed_meanwhile_waits_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar(pressed=2)
    steps = _steps(monkeypatch, bar, 100)
    for n in range(1, 101):
        steps(n)
    assert len(bar.drawn) == 2
    with pytest.raises(RerunException):
        steps.end()


def test_what_it_is_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()

    @contextmanager
    def spinner(words: str) -> Iterator[None]:
        said.append(words)
        yield

    monkeypatch.setattr("streamlit.spinner", spinner)
    with busy.at("Counting"):
        assert said == ["Counting"]
