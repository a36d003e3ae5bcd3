"""The pipeline on Apache Kafka itself: what a real log can do to a reader, and nothing is lost or doubled."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from sqlalchemy import Engine

from agent.demo.broker import create_topics
from agent.frame import RAW, RawFormat
from agent.pipeline import intake, stalls
from agent.settings import Kafka, Settings
from agent.sources.base import SourceError
from agent.sources.kafka import KafkaSource
from agent.store import offsets
from agent.store.engine import reading
from agent.store.offsets import Counts
from agent.store.tables import data_gap, dead_letter
from tests.apache_kafka import ApacheKafka
from tests.streams import FakeScorer, Running, frame, headers, running, settings, until
from tests.wire import named

SESSION_S = 2


@pytest.fixture
def wanted(tmp_path: Path, apache: ApacheKafka) -> Settings:
    """Settings for a topic of one partition."""
    topic = f"frames-{uuid4().hex[:8]}"
    create_topics(Kafka(bootstrap=apache.bootstrap), {topic: 1})
    given = {
        "bootstrap": apache.bootstrap, "frames_topic": topic, "group_id": topic, "session_timeout_s": SESSION_S,
        "heartbeat_s": 0.2,
    }  # fmt: skip
    return settings(tmp_path, kafka=given)


def source(wanted: Settings) -> KafkaSource:
    return KafkaSource(wanted.kafka, group_id=wanted.kafka.group_id)


def publish(
    wanted: Settings, ids: list[str], *, transactions: int = 0, abort: bool = False, partition: int = 0
) -> None:
    """Frames of these ids; with `transactions` in as many of them, each of which leaves a marker in the log."""
    options = {"transactional_id": f"t-{uuid4().hex[:8]}"} if transactions else {}
    producer = KafkaProducer(bootstrap_servers=wanted.kafka.bootstrap, acks="all", **options)
    try:
        if transactions:
            producer.init_transactions()
        for start in range(0, len(ids), max(1, len(ids) // max(1, transactions))):
            if transactions:
                producer.begin_transaction()
            for one in ids[start : start + max(1, len(ids) // max(1, transactions))]:
                producer.send(wanted.kafka.frames_topic, value=frame(), headers=headers(one), partition=partition)
            if abort:
                producer.flush(20)  # into the log, before they are taken back
                producer.abort_transaction()
            elif transactions:
                producer.commit_transaction()
        producer.flush(20)
    finally:
        producer.close()


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def stored(run: Running) -> int:
    with reading(run.engine) as conn:
        return max((one.next_offset for one in offsets.partitions(conn)), default=0)


@pytest.mark.promise(8)
def test_a_broker_that_is_killed_and_comes_back_loses_no_frame(
    apache: ApacheKafka, wanted: Settings, engine: Engine
) -> None:
    publish(wanted, names("a", 100))
    with running(engine, wanted, source(wanted), scorer=FakeScorer(delay_s=0.01)) as run:
        run.until_received(20)
        apache.kill(signal.SIGKILL)
        run.until(lambda: "source" in run.health.outages)
        apache.start()
        publish(wanted, names("b", 50))
        assert run.until_received(150) == Counts(150, inspected=150)
        assert {row.frame_id for row in run.rows()} == {*names("a", 100), *names("b", 50)}
        run.until(lambda: not run.health.outages)


@pytest.mark.promise(3)
def test_frames_that_the_broker_deleted_unread_are_a_gap_on_record(
    apache: ApacheKafka, wanted: Settings, engine: Engine
) -> None:
    publish(wanted, names("a", 10))
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(10)
    publish(wanted, names("b", 10))
    admin = KafkaAdminClient(bootstrap_servers=apache.bootstrap)
    try:
        admin.delete_records({TopicPartition(wanted.kafka.frames_topic, 0): 14})
    finally:
        admin.close()
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(16)
        (gap,) = run.rows(data_gap)
        assert (gap.kind, gap.from_offset, gap.to_offset) == ("below_start", 10, 14)
        assert {row.frame_id for row in run.rows()} == {*names("a", 10), *names("b", 10)[4:]}


@pytest.mark.promise(3)
def test_a_broker_restored_from_an_older_copy_is_another_stream(
    apache: ApacheKafka, wanted: Settings, engine: Engine, tmp_path: Path
) -> None:
    publish(wanted, names("a", 5))
    apache.stop()
    shutil.copytree(apache.data, tmp_path / "copy")
    apache.start()
    publish(wanted, names("b", 5))
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(10)
    apache.stop()
    shutil.rmtree(apache.data)
    shutil.copytree(tmp_path / "copy", apache.data)
    apache.start()
    publish(wanted, ["c0"])
    with running(engine, wanted, source(wanted)) as run:
        # The restored log's five frames come again under the ids that they had: each is decided once.
        assert run.until_received(16) == Counts(16, inspected=11, duplicate=5)
        (gap,) = run.rows(data_gap)
        assert (gap.kind, gap.from_offset) == ("beyond_end", 10)
        assert {row.frame_id for row in run.rows()} == {*names("a", 5), *names("b", 5), "c0"}


@pytest.mark.promise(3, 5, 7)
def test_a_damaged_batch_is_told_while_other_partitions_go_on_and_is_read_once_it_is_mended(
    apache: ApacheKafka, wanted: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stalls, "STALL_S", 0.5)
    monkeypatch.setattr(intake, "RETRY_S", 0.5)
    topic = wanted.kafka.frames_topic
    admin = KafkaAdminClient(bootstrap_servers=apache.bootstrap)
    admin.create_partitions({topic: 2})
    admin.close()
    publish(wanted, names("a", 3))
    (segment,) = apache.data.glob(f"{topic}-0/*.log")
    whole = segment.stat().st_size
    publish(wanted, ["torn"])
    _flip(segment, whole + 80)
    publish(wanted, names("b", 2))
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(3)
        run.until(lambda: "partitions" in run.health.unready())
        assert "offset 3 of partition 0 cannot be read" in run.health.unready()["partitions"]
        assert not run.health.dead() and not run.health.outages
        publish(wanted, names("other", 20), partition=1)
        assert run.until_received(23) == Counts(23, inspected=23)
        _flip(segment, whole + 80)
        assert run.until_received(26) == Counts(26, inspected=26)
        run.until(lambda: not run.health.unready())
        assert run.rows(data_gap) == []


def _flip(file: Path, place: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))


@pytest.mark.promise(5)
def test_a_header_whose_name_is_not_utf_8_is_a_dead_letter(
    apache: ApacheKafka, wanted: Settings, engine: Engine
) -> None:
    producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all")
    for number, more in enumerate(([], [(named(b"Pr\xfcfer"), b"x")], [])):
        producer.send(wanted.kafka.frames_topic, value=frame(), headers=headers(f"f{number}") + more, partition=0)
    producer.close()
    with running(engine, wanted, source(wanted)) as run:
        assert run.until_received(3) == Counts(3, inspected=2, dead_lettered=1)
        (letter,) = run.rows(dead_letter)
        assert (letter.offset, letter.reason) == (1, "bad_header")
        assert "not UTF-8" in letter.detail


@pytest.mark.promise(3)
@pytest.mark.parametrize("noticed", [False, True])
def test_a_topic_recreated_under_the_agent_is_read_from_its_start(
    apache: ApacheKafka, wanted: Settings, engine: Engine, noticed: bool
) -> None:
    publish(wanted, names("a", 5))
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(5)
        admin = KafkaAdminClient(bootstrap_servers=apache.bootstrap)
        try:
            admin.delete_topics([wanted.kafka.frames_topic])
        finally:
            admin.close()
        if noticed:
            run.until(lambda: not run.pipeline.stats().partitions)
        create_topics(wanted.kafka, {wanted.kafka.frames_topic: 1})
        publish(wanted, names("b", 3))
        assert run.until_received(8) == Counts(8, inspected=8)
        assert {row.frame_id for row in run.rows()} == {*names("a", 5), *names("b", 3)}


@pytest.mark.promise(1)
def test_markers_of_transactions_leave_no_lag(apache: ApacheKafka, wanted: Settings, engine: Engine) -> None:
    publish(wanted, names("a", 6), transactions=3)
    with running(engine, wanted, source(wanted)) as run:
        run.until_received(6)
        run.until(lambda: stored(run) == 9)  # six frames, three markers
        run.until(lambda: run.pipeline.stats().lag == 0)
        assert run.rows(data_gap) == []


def test_a_second_process_of_the_same_instance_id_ends_the_first_with_words(wanted: Settings) -> None:
    kafka = wanted.kafka.model_copy(update={"group_instance_id": "cell-1"})
    first, second = KafkaSource(kafka, group_id="static"), KafkaSource(kafka, group_id="static")
    first.open()
    try:
        until(lambda: first.poll(0.05, 10) is not None and bool(first.events()))
        second.open()
        with pytest.raises(SourceError, match=r"another process has joined as kafka\.group_instance_id 'cell-1'"):
            until(lambda: second.poll(0.05, 10) is None or first.poll(0.05, 10) is None)
    finally:
        first.close()
        second.close()


def test_records_larger_than_what_is_fetched_at_once_come_through(
    apache: ApacheKafka, wanted: Settings, engine: Engine
) -> None:
    topic = f"large-{uuid4().hex[:8]}"
    create_topics(Kafka(bootstrap=apache.bootstrap), {topic: 2})
    kafka = wanted.kafka.model_copy(update={"frames_topic": topic})
    side = 700
    raw, pixels = RawFormat(side, side, "Mono8"), bytes([150]) * side**2
    producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all")
    for number in range(8):
        head = headers(f"f{number}", content_type=RAW, raw=raw)
        producer.send(topic, value=pixels, headers=head, partition=number % 2)
    producer.flush(20)
    producer.close()
    small = KafkaSource(kafka, group_id=topic, fetch_bytes=64 << 10)
    with running(engine, wanted.model_copy(update={"kafka": kafka}), small) as run:
        assert run.until_received(8) == Counts(8, inspected=8)


@pytest.mark.promise(3)
def test_frames_of_a_transaction_that_was_taken_back_are_never_read(
    apache: ApacheKafka, wanted: Settings, engine: Engine
) -> None:
    publish(wanted, names("a", 2), transactions=1)
    publish(wanted, names("no", 3), transactions=1, abort=True)
    publish(wanted, names("b", 2))
    with running(engine, wanted, source(wanted)) as run:
        run.until(lambda: stored(run) == 9)  # seven frames, two markers
        assert run.totals() == Counts(4, inspected=4)
        assert {row.frame_id for row in run.rows()} == {"a0", "a1", "b0", "b1"}


@pytest.mark.promise(6)
def test_an_agent_that_stops_leaves_the_group_at_once(apache: ApacheKafka, wanted: Settings, engine: Engine) -> None:
    # So long that nobody is missed within the test: the next agent gets the partition only if the first gave it back.
    patient = wanted.model_copy(update={"kafka": wanted.kafka.model_copy(update={"session_timeout_s": 120.0})})
    with running(engine, patient, source(patient)) as run:
        run.until(lambda: run.pipeline.stats().partitions == (0,))
    publish(wanted, ["a0"])
    with running(engine, patient, source(patient)) as run:
        run.until_received(1)
