"""A log in memory, for tests and for programs that have no broker: the twin of the Kafka source."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.frame import Record, StreamKey
from agent.settings import utc_now
from agent.sources.base import Assigned, Bounds, Decision, Event, Lost, Outside, Place, Revoked, SourceUnreachableError


class MemoryLog:
    """A topic in memory, shared by its writers and its sources. Thread-safe."""

    def __init__(
        self, partitions: int = 1, *, topic: str = "goodpart.frames", clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.key = StreamKey("memory", f"{topic}-1", topic)
        self.partitions = partitions
        self.committed: dict[int, int] = {}
        self.reachable = True
        self.leaderless: set[int] = set()  # partitions that cannot be reached while the others can
        self._clock = clock
        self._records: dict[int, list[Record]] = {partition: [] for partition in range(partitions)}
        self._starts = dict.fromkeys(range(partitions), 0)
        self._ends = dict.fromkeys(range(partitions), 0)
        self._cuts: dict[int, list[int]] = {partition: [] for partition in range(partitions)}
        self._changed = threading.Condition()

    def append(
        self,
        value: bytes,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        partition: int = 0,
        key: bytes | None = None,
        timestamp: datetime | None = None,
    ) -> int:
        """Writes one record; returns its offset."""
        with self._changed:
            offset = self._ends[partition]
            moment, leader_epoch = timestamp or self._clock(), len(self._cuts[partition])
            record = Record(partition, offset, moment, key, tuple(headers), value, leader_epoch)
            self._records[partition].append(record)
            self._ends[partition] = offset + 1
            self._changed.notify_all()
            return offset

    def skip(self, partition: int, count: int = 1) -> None:
        """Uses up offsets without records, as transaction markers do."""
        with self._changed:
            self._ends[partition] += count
            self._changed.notify_all()

    def truncate(self, partition: int, start: int) -> None:
        """Forgets the records before `start`, as retention does."""
        with self._changed:
            self._starts[partition] = start
            self._records[partition] = [record for record in self._records[partition] if record.offset >= start]
            self._changed.notify_all()

    def cut(self, partition: int, end: int) -> None:
        """Forgets the records from `end` on, as a leader that had not yet copied them does: each time another one."""
        with self._changed:
            self._ends[partition] = end
            self._records[partition] = [record for record in self._records[partition] if record.offset < end]
            self._cuts[partition].append(end)
            self._changed.notify_all()

    def grow(self) -> None:
        """Gets one partition more."""
        with self._changed:
            self._records[self.partitions], self._cuts[self.partitions] = [], []
            self._starts[self.partitions] = self._ends[self.partitions] = 0
            self.partitions += 1
            self._changed.notify_all()

    def recreate(self) -> None:
        """Deletes and creates the topic: another stream under the same name."""
        with self._changed:
            name, _, number = self.key.topic_id.rpartition("-")
            self.key = replace(self.key, topic_id=f"{name}-{int(number) + 1}")
            for partition in self._records:
                self._records[partition], self._starts[partition], self._ends[partition] = [], 0, 0
                self._cuts[partition] = []
            self._changed.notify_all()

    def bounds(self, partition: int) -> Bounds:
        """The bounds of one partition."""
        with self._changed:
            return Bounds(self._starts[partition], self._ends[partition])

    def cuts(self, partition: int) -> list[int]:
        """Where it was cut, each time."""
        with self._changed:
            return list(self._cuts[partition])

    def read(self, partition: int, offset: int, limit: int) -> tuple[list[Record], int]:
        """At most `limit` records from `offset`, and the position after them."""
        with self._changed:
            found = [record for record in self._records[partition] if record.offset >= offset][:limit]
            whole = not found or found[-1] is self._records[partition][-1]
            return found, max(offset, self._ends[partition]) if whole else found[-1].offset + 1

    def still(self) -> AbstractContextManager[object]:
        """While it lasts, nothing changes."""
        return self._changed

    def wait(self, timeout_s: float) -> None:
        """Waits until something is written."""
        with self._changed:
            self._changed.wait(timeout_s)


@dataclass(slots=True)
class _Reading:
    place: Place = field(default_factory=lambda: Place(0))
    paused: bool = True

    def cut(self, cuts: Sequence[int]) -> Place | None:
        """Where the log was cut behind its place under later leaders."""
        offset, leader_epoch = self.place.offset, self.place.leader_epoch
        lowest = min(cuts[leader_epoch:], default=offset) if leader_epoch is not None else offset
        return Place(lowest, leader_epoch) if lowest < offset else None


@dataclass(slots=True)
class MemorySource:
    """A source over a MemoryLog. Tests move its assignment with `assign`, `revoke` and `lose`.

    Args:
        log: what it reads.
        auto: assigns all partitions on `open`.
    """

    log: MemoryLog
    auto: bool = True
    _places: dict[int, _Reading] = field(default_factory=dict)
    _events: deque[Event] = field(default_factory=deque)
    _moves: deque[tuple[type[Assigned | Revoked | Lost], frozenset[int]]] = field(default_factory=deque)

    def assign(self, partitions: Collection[int]) -> None:
        """Gives partitions to this source at its next poll. Any thread may call it."""
        self._moves.append((Assigned, frozenset(partitions)))

    def revoke(self, partitions: Collection[int]) -> None:
        """Takes partitions at the next poll, in good order."""
        self._moves.append((Revoked, frozenset(partitions)))

    def lose(self, partitions: Collection[int]) -> None:
        """Takes partitions at the next poll, as a session that timed out does."""
        self._moves.append((Lost, frozenset(partitions)))

    def open(self) -> None:
        if self.auto:
            self.assign(range(self.log.partitions))

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        self._move()
        deadline = time.monotonic() + timeout_s
        while True:
            records = self._take(max_records)
            remaining = deadline - time.monotonic()
            if records or remaining <= 0 or self._moves:
                return records
            self.log.wait(min(remaining, 0.05))

    def events(self) -> list[Event]:
        found = list(self._events)
        self._events.clear()
        return found

    def stream(self) -> StreamKey:
        return self.log.key

    def partitions(self) -> int:
        return self.log.partitions

    def bounds(self, partitions: Collection[int]) -> dict[int, Bounds]:
        if not self.log.reachable:
            raise SourceUnreachableError("the memory log is switched off")
        return {
            partition: self.log.bounds(partition) for partition in partitions if partition not in self.log.leaderless
        }

    def seek(self, partition: int, offset: int, leader_epoch: int | None = None) -> bool:
        if partition in self._places:
            self._places[partition].place = Place(offset, leader_epoch)
        return partition in self._places

    def pause(self, partitions: Collection[int]) -> None:
        for partition in self._places.keys() & set(partitions):
            self._places[partition].paused = True

    def resume(self, partitions: Collection[int]) -> None:
        for partition in self._places.keys() & set(partitions):
            self._places[partition].paused = False

    def position(self, partition: int) -> Place | None:
        reading = self._places.get(partition)
        return reading.place if reading else None

    def end(self, partition: int) -> int | None:
        return self.log.bounds(partition).end if partition in self._places else None

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.log.committed |= offsets

    def close(self) -> None:
        self._places.clear()

    def _move(self) -> None:
        while self._moves:
            kind, partitions = self._moves.popleft()
            held = self._places.keys() & partitions
            changed = partitions - held if kind is Assigned else frozenset(held)
            for partition in changed:
                if kind is Assigned:
                    self._places[partition] = _Reading()
                else:
                    del self._places[partition]
            if changed:
                self._events.append(kind(changed))

    def _take(self, max_records: int) -> list[Record]:
        taken: list[Record] = []
        for partition, reading in self._places.items():
            away = not self.log.reachable or partition in self.log.leaderless
            if reading.paused or len(taken) >= max_records or away:
                continue
            with self.log.still():
                taken += self._read(partition, reading, max_records - len(taken))
        return taken

    def _read(self, partition: int, reading: _Reading, most: int) -> list[Record]:
        bounds, cuts = self.log.bounds(partition), self.log.cuts(partition)
        cut = reading.cut(cuts)
        before = reading.place.offset
        if cut is not None or not bounds.start <= before <= bounds.end:
            reading.paused = True
            self._events.append(Outside(frozenset({partition}), {} if cut is None else {partition: cut}))
            return []
        found, after = self.log.read(partition, before, most)
        if after != before:
            reading.place = Place(after, len(cuts))
        return found


class MemoryDecisions:
    """Keeps published decisions in a list; `reachable = False` plays an outage."""

    def __init__(self) -> None:
        self.published: list[Decision] = []
        self.reachable = True

    def publish(self, decisions: Sequence[Decision]) -> None:
        if not self.reachable:
            raise SourceUnreachableError("the memory sink is switched off")
        self.published.extend(decisions)

    def close(self) -> None:
        """Nothing to end."""
