"""Progress of long work: what is reported, and its row in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Protocol

from sqlalchemy import Engine

from agent.retrain.errors import Cancelled
from agent.store import runs
from agent.store.engine import writing

EVERY_S = 1.0  # seconds between two progress rows; a change of phase is always written
WRITE_EVERY = 25  # training steps, whatever the time: before each checkpoint, so that the curve has no hole
MOST_POINTS = 200  # of a curve of losses


class Step(Protocol):
    """How far long work is; `model.training.Progress` is one."""

    @property
    def phase(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def rate(self) -> float: ...
    @property
    def eta_s(self) -> float | None: ...


OnProgress = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Done:
    """So many steps of one phase; `rate` in steps per second."""

    phase: str
    step: int
    steps: int
    rate: float
    eta_s: float | None
    loss: float | None = None


class Stage:
    """Counts the steps of one phase and reports each."""

    def __init__(self, phase: str, steps: int, on_progress: OnProgress | None):
        self._phase, self._steps, self._report = phase, steps, on_progress
        self._step, self._began = 0, monotonic()

    def advance(self, by: int = 1) -> None:
        """`by` more steps are done."""
        self._step += by
        if self._report:
            rate = self._step / max(monotonic() - self._began, 1e-9)
            self._report(Done(self._phase, self._step, self._steps, rate, (self._steps - self._step) / rate))


class Curve:
    """The losses of a run, thinned evenly to `MOST_POINTS`, its last step among them.

    Args:
        points: steps and losses that a process before this one left; those that are now done again are replaced.
    """

    def __init__(self, points: Sequence[Sequence[float]] = ()):
        self.points = [(int(step), float(loss)) for step, loss in points]

    def add(self, step: int, steps: int, loss: float | None) -> None:
        """The loss of one step of so many; None where it is not known."""
        while self.points and self.points[-1][0] >= step:
            self.points.pop()
        every = -(-steps // (MOST_POINTS - 1))
        if loss is not None and (step % every == 0 or step == steps):
            self.points.append((step, loss))


class RunRow:
    """Writes a run's progress, losses and heartbeat, throttled; passes every step on."""

    def __init__(
        self,
        engine: Engine,
        run_id: int,
        *,
        clock: Callable[[], datetime],
        on_progress: OnProgress | None,
        timer: Callable[[], float] = monotonic,
        losses: Sequence[Sequence[float]] = (),
    ):
        self._engine, self._run_id = engine, run_id
        self._curve = Curve(losses)
        self._clock, self._report, self._timer = clock, on_progress, timer
        self._phase: str | None = None
        self._written = 0.0

    def __call__(self, step: Step) -> None:
        """Takes one step's progress; raises Cancelled where the run has been ended from outside."""
        if self._report:
            self._report(step)
        if step.phase == "training":
            self._curve.add(step.step, step.steps, step.loss)
        now = self._timer()
        if step.phase == self._phase and now - self._written < EVERY_S and not self._marked(step):
            return
        self._phase, self._written = step.phase, now
        with writing(self._engine) as conn:
            alive = runs.progress(
                conn, self._run_id, phase=step.phase, step=step.step, steps=step.steps,
                loss=step.loss, losses=self._curve.points, eta_s=step.eta_s, now=self._clock(),
            )  # fmt: skip
        if not alive:
            raise Cancelled("training run {run_id} was ended from outside", run_id=self._run_id)

    @staticmethod
    def _marked(step: Step) -> bool:
        return step.step >= step.steps or (step.phase == "training" and step.step % WRITE_EVERY == 0)
