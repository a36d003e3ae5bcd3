"""A gap: what a stored offset says of a log that is not as it was, and where reading goes on."""

from __future__ import annotations

from dataclasses import dataclass

from agent.frame import StreamKey
from agent.settings import Kafka
from agent.sources.base import Bounds

REPLACED = ("beyond_end", "truncated")


class DataGapError(Exception):
    """There is a gap, and kafka.on_gap says to stop there; `subject` is the partition's."""

    def __init__(self, words: str, subject: str) -> None:
        super().__init__(words)
        self.subject = subject


def partition_subject(key: StreamKey, partition: int) -> str:
    """The subject of what concerns a partition."""
    return f"partition:{key.topic}/{partition}"


@dataclass(frozen=True, slots=True)
class Cut:
    """The log was cut at `offset` after more of it was read as that stream: from there on it was written anew."""

    key: StreamKey
    offset: int


@dataclass(frozen=True, slots=True)
class Gap:
    """What a claim found missing."""

    kind: str  # below_start | beyond_end | truncated
    from_offset: int
    to_offset: int

    @property
    def replaced(self) -> bool:
        """Whether the log has other records now under offsets that were read."""
        return self.kind in REPLACED

    def words(self, key: StreamKey, partition: int) -> str:
        """For whoever must look at it."""
        cut = self.kind == "truncated"
        lost = "what was cut off before it was read was" if cut else "frames in between were"
        cause = "an unclean leader election" if cut else "retention, or another topic of that name"
        return (
            f"partition {partition} of {key.topic} was to go on at offset {self.from_offset} and goes on at "
            f"{self.to_offset} ({self.kind}): {lost} never inspected. Sort out their parts, and see why the log lost "
            f"them ({cause})"
        )


def gap_at(stored: int | None, limits: Bounds, cut: Cut | None, settings: Kafka) -> Gap | None:
    """The gap where reading was to go on at `stored`, and where it goes on; None where nothing is missing."""
    first = limits.start
    if stored is None:
        return None
    if cut is not None and cut.offset < stored:
        kind, first = "truncated", min(max(cut.offset, limits.start), limits.end)
    elif stored < limits.start:
        kind = "below_start"
    elif stored > limits.end:
        kind = "beyond_end"
    else:
        return None
    return Gap(kind, stored, limits.end if settings.on_gap == "latest" else first)
