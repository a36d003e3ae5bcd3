"""A log, a way to read it, and what reading it said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent.frame import Record
from agent.sources.base import Assigned, Event, Source, SourceUnreachableError
from tests.contract.topics import PARTITIONS
from tests.streams import until


@dataclass
class Twin:
    """A log and a way to read it."""

    write: Callable[..., int]
    source: Callable[[], Source]
    partitions: int = PARTITIONS


class Reader:
    """Polls a source and keeps what it says."""

    def __init__(self, source: Source, poll_s: float = 0.05) -> None:
        self.source, self._poll_s = source, poll_s
        self.records: list[Record] = []
        self.events: list[Event] = []
        source.open()

    def poll(self) -> bool:
        self.records += self.source.poll(self._poll_s, 10)
        self.events += self.source.events()
        return True

    def until(self, condition: Callable[[], Any]) -> None:
        until(lambda: self.poll() and condition())

    def until_told(self) -> None:
        """Until something happened to the assignment, whether or not the broker is there."""
        self.events.clear()

        def told() -> bool:
            with suppress(SourceUnreachableError):
                self.poll()
            return bool(self.events)

        until(told)

    def assigned(self) -> set[int]:
        return {p for event in self.events if isinstance(event, Assigned) for p in event.partitions}

    def offsets(self, partition: int) -> list[int]:
        return [record.offset for record in self.records if record.partition == partition]


def interrupted(twin: Twin, reader: Reader) -> None:
    """Pauses partition 0 in the middle of what was fetched of it, reads all of partition 1, and resumes."""
    for number in range(8):
        twin.write(b"%d" % number)
    twin.write(b"other", partition=1)
    reader.until(lambda: reader.assigned() == {0, 1})
    reader.source.seek(0, 0)
    reader.source.resume([0])
    until(lambda: reader.source.poll(0.05, 1))
    reader.source.pause([0])
    for _ in range(3):
        reader.poll()
    reader.source.seek(1, 0)
    reader.source.resume([1])
    reader.until(lambda: reader.offsets(1) == [0])
    reader.source.resume([0])
