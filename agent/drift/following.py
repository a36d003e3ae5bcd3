"""Following one product at one station: its drift watch, from stream to stream. Pure; what it is, is one record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import Any

from agent.drift.parts import Part, joined
from agent.store.drift import Frame, Kept
from model.statistics import Drift

PAUSE = timedelta(hours=8)  # after an alarm: what goes on unchanged is not said again and again
CALM = 1000  # parts of the next stream without an alarm, after which the last one is over
Begin = Callable[[int], Drift]


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm: by the part seen at that time, in which stream, after how many of its parts, and the evidence."""

    at: datetime
    stream: int
    n: int
    log_e: float


@dataclass(frozen=True, slots=True)
class Following:
    """One product at one station under one deployment.

    Attributes:
        watch: the martingale of its present stream.
        unit: what one calibration score stands for: part or frame.
        open: parts of which more frames may come, by serial.
        began_at: no part from before is in the present stream.
        alarm: the last one; None: none, or it is over.
    """

    watch: Drift
    unit: str
    open: Mapping[str, Part]
    began_at: datetime
    alarm: Raised | None = None

    def take(self, frames: Iterable[Frame], begin: Begin) -> Following:
        """Counts frames that its deployment decided, in their order; however they are divided, it ends the same.

        An alarm ends a stream. The next one begins with the first part that is PAUSE later.

        Args:
            frames: the station's next ones.
            begin: makes the watch of a stream, given its number.
        """
        parts, open = joined(self.open, frames, self.unit)
        state = replace(self, open=open)
        while parts:
            if state.watch.alarm_at is not None and state.alarm is not None:
                parts = _after(state.alarm.at + PAUSE, parts)
                if not parts:
                    break
                state = replace(state, watch=begin(state.watch.stream + 1), began_at=parts[0].at)
            state, parts = state._count(parts)
        return state

    def _count(self, parts: list[Part]) -> tuple[Following, list[Part]]:
        """Up to the next alarm; the parts after it are left."""
        watch = self.watch.update([part.score for part in parts])
        used, alarm = watch.n - self.watch.n, self.alarm
        if watch.alarm_at is not None:
            alarm = Raised(parts[used - 1].at, watch.stream, watch.n, watch.log_e)
        elif watch.n >= CALM:
            alarm = None
        return replace(self, watch=watch, alarm=alarm), parts[used:]

    def to_row(self) -> dict[str, Any]:
        """The columns of its row, but for what it follows and where it has read to."""
        state = {
            "watch": self.watch.to_dict(),
            "unit": self.unit,
            "open": [[serial, part.at.isoformat(), part.score] for serial, part in self.open.items()],
        }
        alarm = self.alarm and {"stream": self.alarm.stream, "n": self.alarm.n, "log_e": self.alarm.log_e}
        return {
            "stream": self.watch.stream, "n": self.watch.n, "log_wealth": self.watch.log_e, "state": state,
            "began_at": self.began_at, "alarmed_at": self.alarm and self.alarm.at, "alarm": alarm,
        }  # fmt: skip

    @classmethod
    def from_row(cls, row: Kept) -> Following:
        """What `to_row` gave.

        Raises:
            ValueError: another version wrote it.
        """
        try:
            open = {serial: Part(datetime.fromisoformat(at), float(score)) for serial, at, score in row.state["open"]}
            watch, unit = Drift.from_dict(row.state["watch"]), str(row.state["unit"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a drift watch of this version: {error}") from error
        alarm = Raised(row.alarmed_at, **row.alarm) if row.alarmed_at and row.alarm else None
        return cls(watch, unit, open, row.began_at, alarm)


def _after(end: datetime, parts: list[Part]) -> list[Part]:
    return list(dropwhile(lambda part: part.at < end, parts))
