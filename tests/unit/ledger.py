"""What a log ever held, and what the database must say of it: the oracle of the state machine.

A frame that was sent lies at an offset of a topic, under a leader; the same offset may have held several, before a cut
and after it, or in a topic made anew. So a row of the database is known by its place and its frame's id together.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agent.sources.memory import MemoryLog

REPLACED = ("beyond_end", "truncated")


@dataclass(frozen=True, slots=True)
class Sent:
    """One record, as it was written. `frame_id` is None of a transaction's marker."""

    topic: str
    partition: int
    offset: int
    leader: int
    frame_id: str | None
    station: str = ""
    number: int | None = None
    dead: bool = False  # its headers name no station that is registered


@dataclass(frozen=True, slots=True)
class Gap:
    stream: str
    partition: int
    start: int  # was to go on
    to: int  # goes on
    kind: str


@dataclass
class Ledger:
    """Everything that was written, and what was taken away again."""

    log: MemoryLog
    look: sqlite3.Connection
    sent: list[Sent] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)  # in the order in which they were made
    starts: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0]))
    cuts: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    begun: dict[tuple[str, int], int] = field(default_factory=dict)  # the log's start as a row of it was first seen
    furthest: dict[tuple[str, int], int] = field(default_factory=dict)
    doubt: bool = False  # a row may be of either of two records

    def note(self, partition: int, frame_id: str | None, **more: Any) -> None:
        """This is what the log's last offset there holds."""
        topic, end = self.topic, self.log.bounds(partition).end
        self.sent.append(Sent(topic, partition, end - 1, len(self.cuts[topic, partition]), frame_id, **more))

    @property
    def topic(self) -> str:
        """The present one."""
        if self.log.key.topic_id not in self.topics:
            self.topics.append(self.log.key.topic_id)
        return self.log.key.topic_id

    def rows(self, query: str) -> list[Any]:
        return self.look.execute(query).fetchall()

    def read(self) -> None:
        """The database as it is now."""
        assert self.topic in self.topics
        at, join = 'topic_id, partition, "offset"', "JOIN stream ON stream.id = stream_id"
        frames = self.rows(f"SELECT {at}, frame_id, verdict FROM inspection {join}")
        self.inspected = {(s, p, o): frame_id for s, p, o, frame_id, _ in frames}
        self.failed = Counter((s, p) for s, p, _, _, verdict in frames if verdict == "not_inspected")
        assert len(frames) == len({*self.inspected.values()}), "a frame was inspected twice"
        letters = self.rows(f"SELECT {at}, headers FROM dead_letter {join} WHERE counted")
        self.dead = {(s, p, o): str(dict(json.loads(headers))["ce_id"]) for s, p, o, headers in letters}
        assert len(letters) == len(self.dead)
        self.outcomes = self.inspected | self.dead
        assert len(self.outcomes) == len(self.inspected) + len(self.dead), "one record, two outcomes"
        self.unsent = {tuple(row) for row in self.rows(f"SELECT {at} FROM outbox {join}")}
        counts = "next_offset, received, inspected, not_inspected, dead_lettered, duplicate"
        states = self.rows(f"SELECT topic_id, partition, {counts} FROM consumer_offset {join} ORDER BY stream_id")
        self.states: dict[tuple[str, int], tuple[int, ...]] = {(s, p): tuple(rest) for s, p, *rest in states}
        gaps = f"SELECT topic_id, partition, from_offset, to_offset, kind FROM data_gap {join} ORDER BY data_gap.id"
        self.gaps = [Gap(*row) for row in self.rows(gaps)]

    def current(self, partition: int) -> tuple[str, int] | None:
        """The stream that the partition belongs to now, and its next offset; None where it was never claimed."""
        found = [(s, state[0]) for (s, p), state in self.states.items() if p == partition]
        # An agent that was slow may claim it of a topic of before after another has claimed it of the present one.
        return max(found, key=lambda one: self._order(one[0])) if found else None

    def hold(self) -> None:
        """What holds at any moment."""
        self.read()
        for (stream, partition, offset), frame_id in self.outcomes.items():
            dead = (stream, partition, offset) in self.dead
            here = [one for one in self.at(stream, partition, offset) if one.frame_id == frame_id]
            assert here and here[0].dead == dead, "an outcome of what was never sent"
            assert offset < self.states[stream, partition][0], "an outcome before its offset"
        for place in self.states:
            self._sums(*place)
            self._one_log(*place)
        self._gaps()

    def at(self, stream: str, partition: int, offset: int) -> list[Sent]:
        """What that offset of the stream may have been: of its topic, or of one made while the old one was read on."""
        return self._by_place().get((partition, offset), []) and [
            one for one in self._by_place()[partition, offset] if self._age(one.topic) >= self._age(stream)
        ]

    def _by_place(self) -> dict[tuple[int, int], list[Sent]]:
        if getattr(self, "_known", -1) != len(self.sent):
            self._known, self._places = len(self.sent), defaultdict[tuple[int, int], list[Sent]](list)
            for one in self.sent:
                self._places[one.partition, one.offset].append(one)
        return self._places

    def _order(self, stream: str) -> tuple[int, int]:
        return self._age(stream), int(stream.partition("#")[2] or 0)

    def _age(self, stream: str) -> int:
        return self.topics.index(stream.partition("#")[0])

    def _sums(self, stream: str, partition: int) -> None:
        """The five counters are the rows, and what has no row was sent before, or is no frame, or is a gap."""
        next_offset, received, inspected, not_inspected, dead_lettered, duplicate = self.states[stream, partition]
        place = (stream, partition)
        assert received == inspected + not_inspected + dead_lettered + duplicate
        assert next_offset >= self.furthest.get(place, 0), "an offset went back"
        self.furthest[place] = next_offset
        topic = stream.partition("#")[0]
        first = self.begun.setdefault(place, self.starts[topic, partition][-1])
        rows = sum(one[:2] == place for one in self.inspected)
        assert (rows, self.failed[place]) == (inspected + not_inspected, not_inspected)
        assert sum(one[:2] == place for one in self.dead) == dead_lettered
        least = most = 0
        again = {*self.inspected.values()}
        before = [gap.to for gap in self.gaps if (gap.stream, gap.partition) == self._former(stream, partition)]
        for offset in range(next_offset):
            here = self.at(stream, partition, offset)
            if (stream, partition, offset) in self.outcomes or not here:
                continue
            gone = any((gap.stream, gap.partition) == place and gap.start <= offset < gap.to for gap in self.gaps)
            untouched = gone or offset < max([first, *before])
            resent = [one for one in here if one.frame_id in again]
            assert untouched or resent or any(one.frame_id is None for one in here), "skipped in silence"
            most += bool(resent)
            least += not untouched and len(resent) == len(here)
        assert least <= duplicate <= most, "duplicates are frames that were sent before"

    @staticmethod
    def _former(stream: str, partition: int) -> tuple[str, int]:
        topic, _, number = stream.partition("#")
        return (topic if number in ("", "1") else f"{topic}#{int(number) - 1}"), partition

    def _written(self, stream: str, partition: int) -> list[Sent]:
        """The records of the stream's outcomes in their order, as far as there is no doubt which they are."""
        found = []
        for at in sorted(one for one in self.outcomes if one[:2] == (stream, partition)):
            here = [one for one in self.at(*at) if one.frame_id == self.outcomes[at]]
            if len(here) == 1:
                found += here
            else:  # sent again to the very offset from which it was cut off, or which it had in the topic of before
                self.doubt = True
        return found

    def _one_log(self, stream: str, partition: int) -> None:
        """Nothing that was written behind a cut stands in the stream of what was cut off."""
        own = [one for one in self._written(stream, partition) if one.topic == stream.partition("#")[0]]
        deleted = self._deleted(stream, partition)
        for before, after in itertools.pairwise(own):
            if any(before.offset < to <= after.offset for to in deleted):
                continue  # all that the cut left is gone, too: no offset has had two records here
            between = self.cuts[before.topic, partition][before.leader : after.leader]
            assert before.leader <= after.leader, "an older log behind a newer one"
            assert before.offset < min(between, default=after.offset), "two logs in one stream"

    def _deleted(self, stream: str, partition: int) -> list[int]:
        """Where the stream goes on behind what was deleted before it was read."""
        place = (stream, partition)
        return [gap.to for gap in self.gaps if (gap.stream, gap.partition) == place and gap.kind not in REPLACED]

    def _gaps(self) -> None:
        """Each is there for a loss, once, and told once, in the alert of its partition."""
        for gap in self.gaps:
            topics = [one for one in self.topics if self._age(one) >= self._age(gap.stream)]
            if gap.kind == "below_start":
                assert gap.start < gap.to and any(gap.to in self.starts[one, gap.partition] for one in topics)
            else:
                cuts = [cut for one in topics for cut in self.cuts[one, gap.partition]]
                assert gap.kind in REPLACED and min(cuts, default=gap.start) < gap.start, "a gap, and nothing was lost"
        assert len({*self.gaps}) == len(self.gaps), "a gap twice"
        ended = Counter((gap.stream, gap.partition) for gap in self.gaps if gap.kind in REPLACED)
        assert not ended or max(ended.values()) == 1, "a stream ends once"
        said = self.rows("SELECT subject, SUM(n), SUM(closed_at IS NULL) FROM alert WHERE kind = 'data_gap' GROUP BY 1")
        wanted = Counter(f"partition:{self.log.key.topic}/{gap.partition}" for gap in self.gaps)
        assert {subject: n for subject, n, _ in said} == wanted, "a gap that nobody was told of, or twice"
        assert all(open_ones <= 1 for _, _, open_ones in said)

    def jumps(self) -> Counter[tuple[str, int, int]]:
        """What cameras lost, as their recorded numbers say: station, last number and next one."""
        found: Counter[tuple[str, int, int]] = Counter()
        for stream, partition in self.states:
            breaks = self._deleted(stream, partition)
            by_station: dict[str, tuple[int, int]] = {}
            for one in self._written(stream, partition):
                if one.number is None or one.dead:
                    continue
                last = by_station.get(one.station)
                by_station[one.station] = (one.offset, one.number)
                if last and not any(last[0] < gap <= one.offset for gap in breaks) and one.number > last[1] + 1:
                    found[one.station, last[1], one.number] += 1
        return found

    def settled(self) -> None:
        """What holds at rest: all that can still be read has its outcome, and what has none is on record."""
        self.hold()
        inspected = {*self.inspected.values()}
        letters = {(partition, offset, frame_id) for (_, partition, offset), frame_id in self.dead.items()}
        for partition in range(self.log.partitions):
            stream, _ = self.current(partition) or ("", 0)
            behind = max(self._deleted(stream, partition), default=0)
            for one in self._written(stream, partition) if stream else ():
                if one.offset < behind:
                    continue
                cuts = self.cuts[one.topic, partition][one.leader :]
                assert one.topic != self.topic or one.offset < min(cuts, default=one.offset + 1), "a cut was not seen"
        there = {(p, one.offset, one.leader_epoch) for p in range(self.log.partitions) for one in self._there(p)}
        for one in self.sent:
            if one.frame_id is None:
                continue
            done = (one.partition, one.offset, one.frame_id) in letters if one.dead else one.frame_id in inspected
            if not done and one.topic == self.topic:
                assert (one.partition, one.offset, one.leader) not in there, "what is still there was not decided"
                assert self._accounted(one), "a frame was lost in silence"

    def _there(self, partition: int) -> Iterator[Any]:
        yield from self.log.read(partition, 0, 10**6)[0]

    def _accounted(self, one: Sent) -> bool:
        """Whether the log lost it before anybody could read it, or a gap says that it is gone."""
        place = (one.topic, one.partition)
        if one.offset < self.begun.get(place, 0) or any(cut <= one.offset for cut in self.cuts[place][one.leader :]):
            return True
        gaps = [
            gap for gap in self.gaps if gap.partition == one.partition and self._age(gap.stream) == self._age(one.topic)
        ]
        for gap in gaps:
            # Cut below what was read, then deleted: no broker can tell how much of it was another log.
            start = min([gap.start, *self.cuts[place][: one.leader]])
            if one.offset < gap.to and (gap.kind in REPLACED or start <= one.offset):
                return True
        return False
