"""A gap: what a stored offset says of a log that is not as it was, and where reading goes on."""

from __future__ import annotations

from dataclasses import dataclass

from agent.frame import StreamKey
from agent.phrases import Phrase
from agent.settings import Kafka
from agent.sources.base import Bounds, Place

REPLACED = ("beyond_end", "truncated")


class DataGapError(Exception):
    """There is a gap, and kafka.on_gap says to stop there; `subject` is the partition's."""

    def __init__(self, words: Phrase, subject: str) -> None:
        super().__init__(words)
        self.words, self.subject = words, subject


def partition_subject(key: StreamKey, partition: int) -> str:
    """The subject of what concerns a partition."""
    return f"partition:{key.topic}/{partition}"


@dataclass(frozen=True, slots=True)
class Cut:
    """The log was cut at `place` after more of it was read as that stream: from there on it was written anew."""

    key: StreamKey
    place: Place


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

    @property
    def numbers(self) -> dict[str, int]:
        """For the log, and for the alert's detail."""
        return {"from_offset": self.from_offset, "to_offset": self.to_offset}

    def words(self, key: StreamKey, partition: int) -> Phrase:
        """For whoever must look at it."""
        gap = Phrase(
            "partition {partition} of {topic} was to go on at offset {from_offset} and goes on at {to_offset} ({kind})",
            partition=partition, topic=key.topic, from_offset=self.from_offset, to_offset=self.to_offset,
            kind=self.kind,
        )  # fmt: skip
        if self.kind == "truncated":
            return Phrase(
                "{gap}: what was cut off before it was read was never inspected. Sort out their parts, and see why the "
                "log lost them (an unclean leader election)",
                gap=gap,
            )
        return Phrase(
            "{gap}: frames in between were never inspected. Sort out their parts, and see why the log lost them "
            "(retention, or another topic of that name)",
            gap=gap,
        )


def gap_at(stored: int | None, limits: Bounds, cut: Cut | None, settings: Kafka) -> Gap | None:
    """The gap where reading was to go on at `stored`, and where it goes on; None where nothing is missing."""
    first = limits.start
    if stored is None:
        return None
    if cut is not None and cut.place.offset < stored:
        kind, first = "truncated", min(max(cut.place.offset, limits.start), limits.end)
    elif stored < limits.start:
        kind = "below_start"
    elif stored > limits.end:
        kind = "beyond_end"
    else:
        return None
    return Gap(kind, stored, limits.end if settings.on_gap == "latest" else first)
