"""A scenario told as it happens: each step with its numbers, and the first one that does not come ends it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import fill

from agent.retrain.progress import Step

WIDE, INDENT = 120, " " * 9
SAY_EVERY_S = 20.0
Say = Callable[[str], None]


class Broken(AssertionError):
    """A step did not come, or came otherwise; the message says which, with the numbers seen."""


def aloud(line: str) -> None:
    """Prints at once, also into a pipe."""
    print(line, flush=True)


def aside(line: str) -> None:
    """For who waits: it is no part of the report."""
    print(line, file=sys.stderr, flush=True)


@dataclass
class Story:
    """One scenario's telling. Not for several threads."""

    say: Say = aloud
    whisper: Say = aside
    _began: float = field(default_factory=time.monotonic)
    _said_at: float = field(default_factory=time.monotonic)

    def step(self, title: str) -> None:
        """What happens next."""
        self.say(f"[{time.monotonic() - self._began:4.0f} s] {title}")

    def note(self, words: str) -> None:
        """A number or a sentence that belongs to the step."""
        for line in words.splitlines():
            self.say(fill(line, WIDE, initial_indent=INDENT, subsequent_indent=f"{INDENT}    "))

    def aside(self, words: str) -> None:
        """What only who waits wants to know."""
        self.whisper(f"{INDENT}... {words}")

    def progress(self, step: Step) -> None:
        """How far something long is, now and then."""
        if time.monotonic() - self._said_at > SAY_EVERY_S:
            self._said_at = time.monotonic()
            self.aside(f"{step.phase} {step.step} of {step.steps}")

    def check(self, holds: bool, words: str) -> None:
        """A promise of the step.

        Raises:
            Broken: it does not hold.
        """
        self.note(f"{'ok ' if holds else 'NOT'} {words}")
        if not holds:
            raise Broken(words)

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 900.0) -> None:
        """Waits for something that the agent does by itself.

        Raises:
            Broken: it does not come in time.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Broken(f"{what}: not within {seconds:.0f} s")
            self.rest(0.05)

    def rest(self, seconds: float) -> None:
        """Waits, for the sake of the machine."""
        threading.Event().wait(seconds)
