"""What the intake knows of a partition that the source assigned to it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.pipeline.gap import Cut
from agent.pipeline.work import Lane


@dataclass(frozen=True, slots=True)
class Unread:
    """What cannot be read at a partition's position; `offset` is None where it cannot even be claimed."""

    offset: int | None
    since: float  # monotonic seconds
    problem: str

    @property
    def claimed(self) -> bool:
        """Whether the partition is ours to read."""
        return self.offset is not None


@dataclass(slots=True)
class Held:
    """A partition that the source assigned to us."""

    asked: int = 0  # number of the last claim request
    ask_at: float = 0.0  # monotonic seconds; infinite while an answer is due or a lane is held
    lane: Lane | None = None
    stored: int | None = None  # its offset in the database, as the last claim found it beyond the log's end
    cut: Cut | None = None  # where the log was cut while the last lane read it
    full: bool = False  # paused: it has its share of the frames in flight, or cannot be read before `retry_at`
    fed: bool = False  # read though the others are paused: none of its frames is in flight
    unread: Unread | None = None
    retry_at: float = 0.0  # monotonic seconds

    def fails(self, offset: int | None, problem: str, now: float) -> None:
        """It cannot be read there, at the latest since now."""
        if self.unread is None or self.unread.offset != offset:
            self.unread = Unread(offset, now, problem)
