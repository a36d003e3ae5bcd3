"""How far long work is, and when it will be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase is.

    Attributes:
        phase: in training "features", "memory", "training", "normalising", "choosing", in this order.
        step, steps: done, and in all.
        loss: newest one known; None where there is none.
        seconds: since the phase began.
        rate: steps per second.
        eta_s: seconds left of the phase; None where the rate is not known yet.
    """

    phase: str
    step: int
    steps: int
    loss: float | None
    seconds: float
    rate: float
    eta_s: float | None


OnProgress = Callable[[Progress], None]


class Report:
    """Tells of one phase.

    Args:
        phase: its name.
        steps: in all.
        hear: is told; None for nobody.
        clock: seconds.
    """

    def __init__(self, phase: str, steps: int, hear: OnProgress | None, clock: Callable[[], float] = monotonic):
        self._phase, self._steps, self._hear, self._clock = phase, steps, hear, clock
        self._began, self._done = clock(), 0
        self._resumed = 0  # steps that an earlier run did, which say nothing of this one's rate

    def resume(self, step: int) -> None:
        """The phase goes on after `step`."""
        self._resumed = self._done = step
        self._began = self._clock()

    def __call__(self, step: int, loss: float | None = None) -> None:
        """`step` steps are done."""
        self._done = step
        if self._hear:
            seconds = self._clock() - self._began
            rate = (step - self._resumed) / max(seconds, 1e-9)
            eta = (self._steps - step) / rate if rate else None
            self._hear(Progress(self._phase, step, self._steps, loss, seconds, rate, eta))

    def advance(self, steps: int) -> None:
        """`steps` more are done."""
        self(self._done + steps)
