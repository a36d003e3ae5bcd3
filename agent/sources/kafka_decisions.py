"""Decisions to a Kafka topic, with kafka-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from agent.settings import Kafka
from agent.sources import broker
from agent.sources.base import Decision, SourceUnreachableError

_ACK_S = 10.0


class KafkaDecisions:
    """Publishes decisions, one connection, in order, acknowledged by all in-sync replicas.

    The connection is made at the first publish, so that a broker that is away is an outage of the relay alone.
    """

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._producer: Any = None

    def publish(self, decisions: Sequence[Decision]) -> None:
        try:
            if self._producer is None:
                self._producer = broker.connect(
                    KafkaProducer,
                    self._settings,
                    client_id="goodpart-decisions",
                    acks="all",
                    # Not every broker has the machinery of idempotence; consumers deduplicate anyway.
                    enable_idempotence=False,
                    max_in_flight_requests_per_connection=1,
                    allow_auto_create_topics=False,
                    linger_ms=0,
                    max_block_ms=5000,
                    request_timeout_ms=5000,
                    delivery_timeout_ms=8000,
                    reconnect_backoff_max_ms=2000,
                    metrics_enabled=False,
                )
            topic = self._settings.decisions_topic
            sent = [
                self._producer.send(topic, key=one.key.encode(), value=one.value, headers=list(one.headers))
                for one in decisions
            ]
            for future in sent:
                future.get(timeout=_ACK_S)
        except KafkaError as error:
            raise SourceUnreachableError(
                f"decisions cannot be published to {self._settings.decisions_topic!r} at {self._settings.bootstrap} "
                f"({type(error).__name__}: {error})"
            ) from error

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(timeout=2)
