"""How a member of a consumer group takes part in a rebalance: what it says that it has, and what it is told."""

from __future__ import annotations

import queue
from collections.abc import Collection
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from agent.sources.base import Assigned, Event, Lost, Revoked


class Sticky(CooperativeStickyAssignor):  # type: ignore[misc]
    """Shares partitions out so that few move; a member keeps its own while they do (KIP-429).

    kafka-python 3.0.12 goes on to claim what its group took from a member that was away. The leader then waits for that
    member to revoke it, which has nothing to revoke: until some other rebalance the partition is nobody's.
    """

    def forget(self) -> None:
        """Nothing is claimed in the next join: the group expelled this member."""
        self.member_assignment = None


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs on kafka-python's IO thread: it does no I/O.

    Args:
        consumer: whose partitions they are.
        assignor: its own.
        events: what becomes of them, for the thread that polls.
    """

    def __init__(self, consumer: Any, assignor: Sticky, events: queue.SimpleQueue[Event]) -> None:
        self._consumer, self._assignor, self._events = consumer, assignor, events

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        for one in assigned:
            self._consumer.pause(one)
            # A placeholder: a partition without a position would be set from the group's own commit, or raise.
            self._consumer.seek(one, 0)
        self._tell(Assigned, assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._tell(Revoked, revoked)

    def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._assignor.forget()
        self._tell(Lost, lost)

    def _tell(self, kind: type[Assigned | Revoked | Lost], changed: Collection[TopicPartition]) -> None:
        if changed:
            self._events.put(kind(frozenset(one.partition for one in changed)))
