"""One contract for every source: the Kafka one on Apache Kafka and on the demo's broker, and its twin in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaProducer

from agent.demo.broker import create_topics
from agent.sources.base import Bounds, Outside, Place
from agent.sources.directory import DirectorySource
from agent.sources.kafka import KafkaSource
from agent.sources.memory import MemoryLog, MemorySource
from tests.apache_kafka import ApacheKafka
from tests.contract.reading import Reader, Twin, interrupted
from tests.contract.topics import PARTITIONS, settings_of
from tests.streams import until
from tests.wire import named


@pytest.fixture(params=["memory", "directory", "tansu", "apache"])
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Twin]:
    if request.param == "memory":
        log = MemoryLog(PARTITIONS)
        yield Twin(log.append, lambda: MemorySource(log))
        return
    if request.param == "directory":
        yield Twin(Spool(tmp_path).write, lambda: DirectorySource(tmp_path), partitions=1)
        return
    bootstrap = request.getfixturevalue(request.param).bootstrap
    settings = settings_of(bootstrap)
    create_topics(settings, {settings.frames_topic: PARTITIONS})
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=False)

    def write(value: bytes, headers: Any = (), *, partition: int = 0, key: bytes | None = None) -> int:
        sent = producer.send(settings.frames_topic, value=value, headers=list(headers), partition=partition, key=key)
        return int(sent.get(10).offset)

    group = f"g-{uuid4().hex[:8]}"
    try:
        yield Twin(write, lambda: KafkaSource(settings, group_id=group))
    finally:
        producer.close()


@dataclass
class Spool:
    """Writes as a camera does: the sidecar first, then the frame by rename."""

    directory: Path
    written: int = 0

    def write(self, value: bytes, headers: Any = (), *, key: bytes | None = None) -> int:
        folder = self.directory / "incoming" / (key or b"s1").decode()
        folder.mkdir(parents=True, exist_ok=True)
        name = f"part {self.written}.jpg"
        if headers:
            (folder / f"{name}.json").write_text(json.dumps({n: v.decode() for n, v in headers}))
        (folder / f".{name}").write_bytes(value)
        (folder / f".{name}").rename(folder / name)
        self.written += 1
        return self.written - 1


@pytest.fixture
def reader(twin: Twin) -> Iterator[Reader]:
    made = Reader(twin.source())
    try:
        yield made
    finally:
        made.source.close()


@pytest.mark.promise(2)
def test_partitions_come_paused_and_are_read_from_where_they_are_sought(twin: Twin, reader: Reader) -> None:
    for number in range(5):
        twin.write(b"v%d" % number, [("ce_id", b"%d" % number)], key=b"s1")
    reader.until(lambda: reader.assigned() == set(range(twin.partitions)))
    for _ in range(5):
        reader.poll()
    assert reader.records == []  # nothing before it is claimed, sought and resumed

    assert reader.source.partitions() == twin.partitions
    key = reader.source.stream()
    assert key.cluster_id
    assert key.topic_id
    assert key.topic

    reader.until(lambda: reader.source.bounds([0]) == {0: Bounds(0, 5)})
    assert reader.source.seek(0, 2)
    reader.source.resume([0])
    reader.until(lambda: len(reader.records) == 3)
    assert reader.offsets(0) == [2, 3, 4]
    first = reader.records[0]
    assert (first.partition, first.key, first.value) == (0, b"s1", b"v2")
    assert dict(first.headers)["ce_id"] == b"2"
    assert first.timestamp.tzinfo is not None
    place = reader.source.position(0)
    assert place == Place(5, reader.records[-1].leader_epoch)
    assert reader.source.end(0) == 5

    # Paused: nothing more. Resumed: it goes on where it was.
    reader.source.pause([0])
    twin.write(b"v5")
    for _ in range(5):
        reader.poll()
    assert reader.offsets(0) == [2, 3, 4]
    reader.source.resume([0])
    reader.until(lambda: reader.offsets(0) == [2, 3, 4, 5])

    # Sought back: read again, under the leader that it was read from. Another partition is read beside it.
    reader.source.seek(0, 4, reader.records[1].leader_epoch)
    if twin.partitions > 1:
        assert reader.source.bounds([0, 1])[1] == Bounds(0, 0)
        twin.write(b"w", partition=1)
        reader.source.seek(1, 0)
        reader.source.resume([1])
        reader.until(lambda: reader.offsets(1) == [0])
    reader.until(lambda: reader.offsets(0) == [2, 3, 4, 5, 4, 5])

    # The source's own commit never fails, and what is not ours is skipped.
    reader.source.commit({0: 6, 1: 1})
    reader.poll()
    assert not reader.source.seek(7, 0)
    assert reader.source.position(7) is None
    assert reader.source.end(7) is None
    reader.source.pause([7])
    reader.source.resume([7])
    assert reader.source.stream() == key


@pytest.mark.promise(1)
def test_the_commit_of_the_group_decides_nothing(twin: Twin, reader: Reader) -> None:
    for number in range(3):
        twin.write(b"%d" % number)
    reader.until(lambda: reader.assigned() == set(range(twin.partitions)))
    reader.source.seek(0, 0)
    reader.source.resume([0])
    reader.until(lambda: len(reader.records) == 3)
    reader.source.commit({0: 1})
    for _ in range(4):
        reader.poll()
    reader.source.close()
    again = Reader(twin.source())
    try:
        again.until(lambda: again.assigned() == set(range(twin.partitions)))
        again.source.seek(0, 1)
        again.source.resume([0])
        again.until(lambda: len(again.records) == 2)
        assert again.offsets(0) == [1, 2]
    finally:
        again.source.close()


@pytest.mark.promise(3)
@pytest.mark.parametrize("twin", ["memory", "tansu", "apache"], indirect=True)  # a directory has no leaders
def test_a_quiet_partition_keeps_the_leader_of_its_last_record(twin: Twin, reader: Reader) -> None:
    twin.write(b"0")
    reader.until(lambda: reader.assigned() == {0, 1})
    reader.source.seek(0, 0)
    reader.source.resume([0])
    reader.until(lambda: reader.offsets(0) == [0])
    reader.source.close()
    leader_epoch = reader.records[0].leader_epoch
    again = Reader(twin.source())
    try:
        again.until(lambda: again.assigned() == {0, 1})
        again.source.seek(0, 1, leader_epoch)
        again.source.resume([0])
        again.until(lambda: again.source.end(0) == 1)  # an answer came, and had no record
        for _ in range(5):
            again.poll()
        assert again.source.position(0) == Place(1, leader_epoch)
    finally:
        again.source.close()


@pytest.mark.promise(3)
def test_a_log_of_kafka_restored_from_a_copy_of_older_leaders_says_so(apache: ApacheKafka, tmp_path: Path) -> None:
    """All of its leaders are older than that of the last record: no place in it can be told from what was read."""
    settings = settings_of(apache.bootstrap)
    create_topics(settings, {settings.frames_topic: 1})

    def write(count: int) -> None:
        producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all", enable_idempotence=False)
        for number in range(count):
            producer.send(settings.frames_topic, value=b"%d" % number, partition=0).get(10)
        producer.close()

    write(2)
    apache.stop()
    shutil.copytree(apache.data, tmp_path / "older")
    for _ in range(3):  # each start makes a leader
        apache.start()
        apache.stop()
    apache.start()
    write(2)
    reader = Reader(KafkaSource(settings, group_id=settings.frames_topic))
    reader.until(lambda: reader.assigned() == {0})
    reader.source.seek(0, 0)
    reader.source.resume([0])
    reader.until(lambda: len(reader.records) == 4)
    reader.source.close()
    apache.stop()
    shutil.rmtree(apache.data)
    shutil.copytree(tmp_path / "older", apache.data)
    apache.start()
    write(4)
    later = Reader(KafkaSource(settings, group_id=settings.frames_topic))
    try:
        later.until(lambda: later.assigned() == {0})
        later.source.seek(0, 4, reader.records[-1].leader_epoch)
        later.source.resume([0])
        later.until_told()
        assert later.events[-1] == Outside(frozenset({0}), {0: Place(0)})
        assert not later.records
    finally:
        later.source.close()


@pytest.mark.promise(3)
def test_a_log_in_memory_that_was_cut_behind_what_was_read_says_where() -> None:
    log = MemoryLog()
    _cut_short(Twin(log.append, lambda: MemorySource(log)), lambda end: None, lambda end: log.cut(0, end))


@pytest.mark.promise(3)
def test_a_log_of_kafka_that_was_cut_behind_what_was_read_says_where(apache: ApacheKafka, tmp_path: Path) -> None:
    """As an unclean leader election does: what a leader that was behind has, under a new leader epoch."""
    settings = settings_of(apache.bootstrap)
    create_topics(settings, {settings.frames_topic: 1})
    log = apache.data / f"{settings.frames_topic}-0"

    def write(value: bytes) -> int:
        producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all", enable_idempotence=False)
        try:
            return int(producer.send(settings.frames_topic, value=value, partition=0).get(10).offset)
        finally:
            producer.close()

    def copy(end: int) -> None:
        apache.stop()
        shutil.copytree(log, tmp_path / str(end))
        apache.start()

    def cut(end: int) -> None:
        apache.stop()
        shutil.rmtree(log)
        shutil.copytree(tmp_path / str(end), log)
        apache.start()

    _cut_short(Twin(write, lambda: KafkaSource(settings, group_id=settings.frames_topic)), copy, cut)


def _cut_short(twin: Twin, copy: Callable[[int], None], cut: Callable[[int], None]) -> None:
    """Of ten records that were read the log loses the last five, and gets seven others, while one reads; and none.

    Then it loses all but three, and gets as many others, before anything behind the cut was read.
    """
    for number in range(10):
        if number in (3, 5):
            copy(number)
        twin.write(b"%d" % number)
    reader = Reader(twin.source())
    try:
        reader.until(lambda: reader.assigned() == {0})
        reader.source.seek(0, 0)
        reader.source.resume([0])
        reader.until(lambda: reader.offsets(0) == list(range(10)))
        cut(5)
        new = _write(twin, b"new", range(5, 12))
        reader.until_told()
        behind = Place(5, reader.records[4].leader_epoch)
        assert reader.events[-1] == Outside(frozenset({0}), {0: behind})
        assert len(reader.records) == 10
        _goes_on(reader, behind, new)
    finally:
        reader.source.close()
    later = Reader(twin.source())
    try:
        later.until(lambda: later.assigned() == {0})
        later.source.seek(0, 10, reader.records[9].leader_epoch)
        later.source.resume([0])
        later.until_told()
        assert later.events[-1] == Outside(frozenset({0}), {0: behind})
        assert not later.records
        cut(3)
        newer = _write(twin, b"newer", range(3, 12))
        later.source.seek(0, behind.offset, behind.leader_epoch)
        later.source.resume([0])
        later.until_told()
        further = Place(3, reader.records[2].leader_epoch)
        assert later.events[-1] == Outside(frozenset({0}), {0: further})
        assert not later.records
        _goes_on(later, further, newer)
    finally:
        later.source.close()


def _write(twin: Twin, what: bytes, offsets: range) -> dict[int, bytes]:
    values = {offset: b"%s %d" % (what, offset) for offset in offsets}
    assert [twin.write(value) for value in values.values()] == list(offsets)
    return values


def _goes_on(reader: Reader, place: Place, wanted: dict[int, bytes]) -> None:
    before = len(reader.records)
    reader.source.seek(0, place.offset, place.leader_epoch)
    reader.source.resume([0])
    reader.until(lambda: len(reader.records) == before + len(wanted))
    assert {one.offset: one.value for one in reader.records[before:]} == wanted


@pytest.mark.promise(3, 4)
@pytest.mark.parametrize("twin", ["memory", "tansu", "apache"], indirect=True)  # a directory is one partition
def test_a_pause_in_the_middle_loses_nothing(twin: Twin, reader: Reader) -> None:
    interrupted(twin, reader)
    reader.until(lambda: reader.offsets(0) == list(range(1, 8)))


@pytest.mark.promise(4)
@pytest.mark.parametrize("twin", ["tansu", "apache"], indirect=True)
def test_what_was_fetched_of_one_partition_does_not_wait_for_the_end_of_another(twin: Twin, reader: Reader) -> None:
    for number in range(60):
        twin.write(b"%d" % number)
    twin.write(b"other", partition=1)
    reader.until(lambda: reader.assigned() == {0, 1})
    reader.source.seek(0, 0)
    reader.source.resume([0])
    reader.until(lambda: reader.offsets(0))
    reader.source.seek(1, 0)
    reader.source.resume([1])
    reader.poll()
    fetcher: Any = reader.source._consumer._fetcher  # type: ignore[attr-defined]
    until(lambda: fetcher._completed_fetches)
    reader.poll()
    assert reader.offsets(1) == [0]
    assert len(reader.offsets(0)) < 60
    reader.until(lambda: reader.offsets(0) == list(range(60)))


@pytest.mark.promise(5)
@pytest.mark.parametrize("twin", ["tansu", "apache"], indirect=True)  # others have no names that are not text
def test_a_header_whose_name_is_not_utf_8_is_read_as_one_that_nobody_knows(twin: Twin, reader: Reader) -> None:
    for name in (named(b"ce_id"), named(b"Pr\xfcfer"), named(b"ce_id")):
        twin.write(b"v", [(name, b"x")])
    reader.until(lambda: reader.assigned() == {0, 1})
    reader.source.seek(0, 0)
    reader.source.resume([0])
    reader.until(lambda: reader.offsets(0) == [0, 1, 2])
    assert [dict(one.headers) for one in reader.records] == [{"ce_id": b"x"}, {"Pr\ufffdfer": b"x"}, {"ce_id": b"x"}]
