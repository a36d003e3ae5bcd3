"""The bounds of a topic's log, by kafka-python's consumer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from agent.sources.base import Bounds, SourceUnreachableError

_WAIT_MS = 5000  # for the starts, and again for the ends


def ask(consumer: Any, topic: str, partitions: Collection[int]) -> dict[int, Bounds]:
    """The bounds of those partitions whose leader tells them.

    Each leader is asked by itself: kafka-python 3.0.12 drops all answers where one is missing, and where no partition
    has a leader it waits for one until its time is up.

    Raises:
        SourceUnreachableError: there are leaders, and none of them answers.
    """
    cluster, led = consumer._cluster, defaultdict(list)
    for partition in partitions:
        place = TopicPartition(topic, partition)
        leader = cluster.leader_for_partition(place)
        if leader is None or leader < 0:
            cluster.request_update()
        else:
            led[leader].append(place)
    found: dict[int, Bounds] = {}
    problem: Exception | None = None
    for places in led.values():
        try:
            starts = consumer.beginning_offsets(places, timeout_ms=_WAIT_MS // len(led))
            ends = consumer.end_offsets(places, timeout_ms=_WAIT_MS // len(led))
            found |= {one.partition: Bounds(starts[one], ends[one]) for one in places}
        except (KafkaError, KeyError) as error:
            problem = error
    if problem and not found:
        raise SourceUnreachableError(
            f"the broker does not tell the bounds of its log ({type(problem).__name__})"
        ) from problem
    return found
