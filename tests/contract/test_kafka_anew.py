"""Where kafka-python stands still, the source begins anew by itself."""

from __future__ import annotations

from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.future import Future
from kafka.structs import MemberState

from agent.demo.broker import KafkaBroker, create_topics
from agent.sources import broker as brokers
from agent.sources import kafka as kafka_source
from agent.sources.base import Lost, Revoked
from agent.sources.kafka import KafkaSource
from tests.apache_kafka import ApacheKafka
from tests.contract.reading import Reader, Twin, interrupted
from tests.contract.topics import PARTITIONS, settings_of
from tests.streams import until


@pytest.mark.promise(7)
def test_reading_that_stands_still_is_begun_anew(apache: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kafka-python 3.0.12 leaves it after a pause, were the source not to look after it."""
    settings = settings_of(apache.bootstrap)
    create_topics(settings, {settings.frames_topic: PARTITIONS})
    monkeypatch.setattr(kafka_source, "_FETCH_STALL_S", 1.0)
    monkeypatch.setattr(KafkaSource, "_take_turns", lambda _: None)
    producer = KafkaProducer(bootstrap_servers=apache.bootstrap, acks="all", enable_idempotence=False)

    def write(value: bytes, *, partition: int = 0) -> int:
        return int(producer.send(settings.frames_topic, value=value, partition=partition).get(10).offset)

    reader = Reader(KafkaSource(settings, group_id=settings.frames_topic))
    try:
        interrupted(Twin(write, lambda: reader.source), reader)
        stuck: Any = reader.source._consumer  # type: ignore[attr-defined]
        reader.events.clear()
        reader.until(lambda: reader.assigned() == {0, 1})
        assert Lost(frozenset({0, 1})) in reader.events
        assert reader.source._consumer is not stuck  # type: ignore[attr-defined]
        assert reader.offsets(0) == []
    finally:
        reader.source.close()
        producer.close()


def test_a_join_that_a_short_poll_began_is_waited_for(apache: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python 3.0.12 forgets it where the group's leader began it because the topic changed."""
    settings = settings_of(apache.bootstrap)
    monkeypatch.setattr(kafka_source, "_METADATA_MS", 200)
    monkeypatch.setattr(kafka_source, "_STALL_S", 1e6)  # no help from there
    create_topics(settings, {settings.frames_topic: 1})
    reader = Reader(KafkaSource(settings, group_id=settings.frames_topic), poll_s=0.001)
    admin = KafkaAdminClient(bootstrap_servers=apache.bootstrap)
    try:
        reader.until(lambda: reader.assigned() == {0})
        admin.create_partitions({settings.frames_topic: 2})
        reader.until(lambda: reader.assigned() == {0, 1})
    finally:
        admin.close()
        reader.source.close()


def test_a_join_that_never_ends_is_begun_anew(apache: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """As kafka-python 3.0.12 may leave one behind, here for the first client only."""
    settings = settings_of(apache.bootstrap)
    monkeypatch.setattr(kafka_source, "_STALL_S", -settings.session_timeout_s)  # one session in place of two and more
    create_topics(settings, {settings.frames_topic: 1})
    reader = Reader(KafkaSource(settings, group_id=settings.frames_topic))
    try:
        reader.until(lambda: reader.assigned() == {0})
        stuck: Any = reader.source._consumer  # type: ignore[attr-defined]
        joining = stuck.group_metadata()._replace(state=MemberState.REBALANCING)
        monkeypatch.setattr(stuck, "group_metadata", lambda: joining)
        reader.events.clear()
        reader.until(lambda: reader.assigned() == {0})
        assert any(isinstance(event, Revoked | Lost) for event in reader.events)
        assert reader.source._consumer is not stuck  # type: ignore[attr-defined]
    finally:
        reader.source.close()


def test_a_client_that_looks_at_the_cluster_no_more_is_begun_anew(tansu: KafkaBroker) -> None:
    """The loop of kafka-python 3.0.12 that does so ends where it waits for another's look, and that one fails."""
    settings = settings_of(tansu.bootstrap)
    create_topics(settings, {settings.frames_topic: 1})
    reader = Reader(KafkaSource(settings, group_id=settings.frames_topic))
    try:
        reader.until(lambda: reader.assigned() == {0})
        stuck: Any = reader.source._consumer  # type: ignore[attr-defined]
        _end_looking(stuck)
        with pytest.raises(KafkaTimeoutError):
            brokers.partitions(stuck, "another", timeout_s=0.2)
        reader.events.clear()
        reader.until(lambda: reader.assigned() == {0})
        assert reader.source._consumer is not stuck  # type: ignore[attr-defined]
    finally:
        reader.source.close()


def _end_looking(consumer: Any) -> None:
    cluster, net = consumer._cluster, consumer._net
    others = Future()

    def waited_for() -> Any:
        if cluster._refresh_future is not others:  # a look of its own ended in between
            cluster._refresh_future = others
            cluster.request_update()
        return others._callbacks

    until(waited_for)
    net.call_soon_threadsafe(lambda: others.failure(KafkaConnectionError("gone")))
    until(lambda: cluster._refresh_loop_future.is_done)
