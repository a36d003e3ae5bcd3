"""Where frames come from and where decisions go: the protocols that every kind keeps (tests/contract).

A source hands out records of the partitions that it is assigned. Offsets live in the database, so a source never
decides where to start: a new partition is handed out paused, and its reader claims it, seeks, and resumes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.frame import Record, StreamKey


class SourceError(Exception):
    """The source cannot be used as configured; the message says what to do. Retrying does not help."""


class SourceUnreachableError(SourceError):
    """The source does not answer; retrying may help."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Offsets of a partition's log: `start` is its first record, `end` the one after its last."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on; `leader_epoch`: under which leader what is before it was written, None where unknown."""

    offset: int
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """New partitions, paused. Claim, seek and resume them."""

    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Revoked:
    """Partitions given up in good order: what is in flight may be committed until somebody else claims."""

    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Lost:
    """Partitions that may already be another's: drop what is in flight."""

    partitions: frozenset[int]


@dataclass(frozen=True, slots=True)
class Outside:
    """The position of these partitions is outside their log now; they are paused. Claim them again.

    `cut`, by partition: the log lost what it had from that place on, and what it has there now was written since.
    """

    partitions: frozenset[int]
    cut: Mapping[int, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What this partition has at its position cannot be read; it is paused. Resume it to try again."""

    partition: int
    offset: int
    problem: str


Event = Assigned | Revoked | Lost | Outside | Unreadable


class Source(Protocol):
    """A partitioned log of frames. Only one thread may call it."""

    def open(self) -> None:
        """Connects and joins. Raises SourceError where that cannot work."""

    def poll(self, timeout_s: float, max_records: int) -> Sequence[Record]:
        """Records of resumed partitions, in offset order within each. Call it all the time: it drives assignment."""

    def events(self) -> Sequence[Event]:
        """What happened to the assignment since the last call, in order."""

    def stream(self) -> StreamKey:
        """Which log this is at present. A recreated topic is another."""

    def partitions(self) -> int:
        """How many partitions the log has at present, their numbers from 0 on; 0 where unknown."""

    def bounds(self, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """The log's bounds now, without partitions that no broker leads. Raises SourceUnreachableError."""

    def seek(self, partition: int, offset: int, leader_epoch: int | None = None) -> bool:
        """The next record of `partition` is the first at or after `offset`; False where it is no longer assigned.

        Given the leader epoch of what is before it, a log that has other records there by now is `Outside`.
        """

    def pause(self, partitions: Collection[int]) -> None:
        """Hands out no more of these; those no longer assigned are skipped."""

    def resume(self, partitions: Collection[int]) -> None:
        """Hands out records again; those no longer assigned are skipped."""

    def position(self, partition: int) -> Place | None:
        """The place after everything handed out (markers and compacted records included); None where not assigned."""

    def end(self, partition: int) -> int | None:
        """The last known end of the log; None where unknown."""

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tells the broker how far the database is, for lag tools only. Never waits, never fails."""

    def close(self) -> None:
        """Leaves."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One message of the decisions topic."""

    key: str
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


class Decisions(Protocol):
    """Where decisions go. Only one thread may call it."""

    def publish(self, decisions: Sequence[Decision]) -> None:
        """Returns once all are acknowledged, in order.

        Raises:
            SourceUnreachableError: any of them may be there or not.
        """

    def close(self) -> None:
        """Ends the connection."""
