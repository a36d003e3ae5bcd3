"""Progress bars for long work: percent, rate and time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Step(Protocol):
    """What long work reports: a phase, how far it is, and its loss where it has one."""

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


@contextmanager
def bars() -> Iterator[Callable[[Step], None]]:
    """One bar for each phase that the yielded callback hears of."""
    columns = (
        TextColumn("{task.description:12}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def report(step: Step) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = progress.add_task(step.phase, total=step.steps, rate="", loss="")
            progress.update(
                tasks[step.phase],
                completed=step.step,
                total=step.steps,
                rate=f"{step.rate:.1f}/s",
                loss="" if step.loss is None else f"loss {step.loss:.4f}",
            )

        yield report
