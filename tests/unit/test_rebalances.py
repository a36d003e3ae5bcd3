"""What a member of a consumer group says and hears in a rebalance."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from types import SimpleNamespace
from unittest.mock import MagicMock, call

import pytest
from kafka import TopicPartition

from agent.sources.base import Assigned, Event, Lost, Revoked
from agent.sources.rebalances import Listener, Sticky

TOPIC, BOTH = "t", frozenset({0, 1})


@pytest.mark.promise(2)
def test_the_rebalance_listener_only_pauses_and_queues() -> None:
    consumer, events = MagicMock(), queue.SimpleQueue[Event]()
    listener = Listener(consumer, Sticky(), events)
    one, other = TopicPartition("t", 3), TopicPartition("t", 5)
    listener.on_partitions_assigned([one, other])
    # Paused before it has a position: no poll can hand out a record from Kafka's own commit in between.
    asked = [call.pause(one), call.seek(one, 0), call.pause(other), call.seek(other, 0)]
    assert consumer.mock_calls == asked
    listener.on_partitions_revoked([one])
    listener.on_partitions_lost([other])
    listener.on_partitions_lost([])
    assert consumer.mock_calls == asked
    told = [events.get_nowait() for _ in range(events.qsize())]
    assert told == [Assigned(frozenset({3, 5})), Revoked(frozenset({3})), Lost(frozenset({5}))]


def shared(members: Mapping[str, Sticky]) -> dict[str, set[int]]:
    """What a group of these members gives each: the leader hears what they say, and each takes what it is given."""
    cluster = MagicMock()
    cluster.topics.return_value, cluster.partitions_for_topic.return_value = {TOPIC}, set(BOTH)
    joined = [SimpleNamespace(member_id=name, metadata=one.metadata({TOPIC})) for name, one in members.items()]
    given = next(iter(members.values())).assign(cluster, joined)
    for name, one in members.items():
        one.on_assignment(given[name], 1)
    return {name: {place.partition for place in given[name].partitions()} for name in members}


@pytest.mark.promise(2)
def test_a_member_that_was_expelled_leaves_no_partition_to_nobody() -> None:
    """It comes back while another one joins: who has nothing any more must not be waited for."""
    first, other = Sticky(), Sticky()
    events = queue.SimpleQueue[Event]()
    assert shared({"first": first}) == {"first": set(BOTH)}
    Listener(MagicMock(), first, events).on_partitions_lost([TopicPartition(TOPIC, one) for one in BOTH])
    assert events.get_nowait() == Lost(BOTH)
    found = shared({"first again": first, "other": other})
    assert set.union(*found.values()) == BOTH, found
