"""What a log gives again, where decisions go, and what is said where there is no topic or no broker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from agent.demo.broker import create_topics
from agent.sources.base import Decision, SourceError, SourceUnreachableError
from agent.sources.kafka import KafkaSource
from agent.sources.kafka_decisions import KafkaDecisions
from agent.sources.kafka_log import KafkaLog
from tests.apache_kafka import ApacheKafka
from tests.contract.topics import PARTITIONS, settings_of
from tests.streams import until


def test_a_log_gives_again_what_it_has_of_what_is_asked(broker: str) -> None:
    settings = settings_of(broker)
    create_topics(settings, {settings.frames_topic: PARTITIONS})
    producer = KafkaProducer(bootstrap_servers=broker, acks="all", enable_idempotence=False)
    try:
        for number in range(400):
            last = producer.send(
                settings.frames_topic, b"%d" % number, headers=[("ce_id", b"%d" % number)], partition=1
            )
        last.get(10)
    finally:
        producer.close()
    source = KafkaSource(settings, group_id=f"g-{uuid4().hex[:8]}")
    source.open()
    key = source.stream()
    source.close()
    with KafkaLog(settings) as log:
        assert log.has(key)
        assert not log.has(replace(key, topic_id="another"))
        assert not log.has(replace(key, topic="nowhere"))
        # Beyond the end, neighbours, far apart, and backwards from one reading to the next.
        for asked in ([399, 400, 7000], [0, 1, 2, 380, 399], [5], [100, 350], list(range(400))):
            found = list(log.read(key, 1, asked))
            assert [(one.offset, one.value) for one in found] == [(one, b"%d" % one) for one in asked if one < 400]
            assert all(one.headers == (("ce_id", one.value),) for one in found)
        assert list(log.read(key, 0, [0, 1])) == []
        assert list(log.read(key, 7, [0])) == []


def test_a_log_knows_what_retention_took_and_a_topic_made_anew(apache: ApacheKafka) -> None:
    settings = settings_of(apache.bootstrap)
    create_topics(settings, {settings.frames_topic: 1})
    producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all", transactional_id=uuid4().hex)
    producer.init_transactions()
    for number in range(6):  # each leaves a marker, so frames are at even offsets
        producer.begin_transaction()
        producer.send(settings.frames_topic, b"%d" % number, partition=0).get(10)
        producer.abort_transaction() if number == 4 else producer.commit_transaction()
    producer.close()
    source = KafkaSource(settings, group_id=f"g-{uuid4().hex[:8]}")
    source.open()
    key = source.stream()
    source.close()
    admin = KafkaAdminClient(bootstrap_servers=apache.bootstrap)
    try:
        admin.delete_records({TopicPartition(settings.frames_topic, 0): 3})
        with KafkaLog(settings) as log:
            assert [one.offset for one in log.read(key, 0, range(12))] == [4, 6, 10]
        admin.delete_topics([settings.frames_topic])
        until(lambda: settings.frames_topic not in admin.list_topics())
        create_topics(settings, {settings.frames_topic: 1})
        with KafkaLog(settings) as log:
            assert not log.has(key)
    finally:
        admin.close()


def test_a_topic_that_is_not_there_says_what_to_do(broker: str) -> None:
    with pytest.raises(SourceError, match=r"kafka\.frames_topic.*has no topic") as error:
        KafkaSource(settings_of(broker), group_id="g").open()
    assert not isinstance(error.value, SourceUnreachableError)


def test_a_broker_that_is_away_says_what_to_do() -> None:
    with pytest.raises(SourceUnreachableError, match=r"kafka\.bootstrap.*127\.0\.0\.1:1 "):
        KafkaSource(settings_of("127.0.0.1:1"), group_id="g").open()


def test_decisions_arrive_in_order_with_key_and_headers(broker: str) -> None:
    settings = settings_of(broker)
    create_topics(settings, {settings.decisions_topic: 1})
    sink = KafkaDecisions(settings)
    sent = [Decision("s1", (("ce_id", b"%d" % n),), b"{}") for n in range(20)]
    sink.publish(sent)
    sink.close()
    topic = TopicPartition(settings.decisions_topic, 0)
    reader = KafkaConsumer(bootstrap_servers=broker, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        reader.assign([topic])
        got: list[Any] = []

        def all_there() -> bool:
            got.extend(reader.poll(100).get(topic, ()))
            return len(got) == 20

        until(all_there)
        assert [(one.key, tuple(one.headers), one.value) for one in got] == [
            (b"s1", (("ce_id", b"%d" % n),), b"{}") for n in range(20)
        ]
    finally:
        reader.close()
