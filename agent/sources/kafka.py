"""Frames from a Kafka broker, with kafka-python.

The database holds the offsets; the group only shares the partitions out. Read with kafka-python 3.0.12: its IO thread
runs rebalance listeners and heartbeats, so the listener here only pauses and queues.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import (
    FencedInstanceIdError,
    IllegalStateError,
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from agent.frame import Record, StreamKey
from agent.settings import Kafka
from agent.sources import bounds, broker, fetched, reach
from agent.sources.base import (
    Bounds,
    Event,
    Lost,
    Outside,
    Place,
    SourceError,
    SourceUnreachableError,
    Unreadable,
)
from agent.sources.rebalances import Listener, Sticky
from agent.sources.standing import Standing

log = structlog.get_logger()
_METADATA_MS = 10_000  # a topic that was away, or has new partitions, is seen again this soon
_JOIN_S = 1.0
_STALL_S = 5.0  # beyond two sessions
_FETCH_STALL_S = 40.0  # kafka-python gives up a request after 30 s
_FETCH_LOOK_S = 1.0
_LOOK_S = 5.0  # without a record
_LOOK_AWAY_S = 1.0
_REVOKED = (KeyError, ValueError, IllegalStateError)  # on kafka-python's thread, since we looked at what is ours


class KafkaSource:
    """A member of a consumer group on the frames topic.

    Args:
        settings: the section [kafka].
        group_id: the group's name.
        bootstrap_s: how long `open` waits for a broker.
        fetch_bytes: most bytes that a broker may send at once, a quarter of it of one partition; a record that is
            larger comes alone. kafka-python 3.0.12 keeps one such answer of each broker, in up to five copies while it
            is taken apart.
    """

    def __init__(
        self, settings: Kafka, *, group_id: str, bootstrap_s: float = 10.0, fetch_bytes: int = 32 << 20
    ) -> None:
        self._settings = settings
        self._group_id = group_id
        self._bootstrap_s = bootstrap_s
        self._fetch_bytes = fetch_bytes
        self._topic = settings.frames_topic
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._consumer: Any = None
        self._joining_since: float | None = None
        self._shut = False  # closed to be opened anew, which did not succeed yet
        self._looked = 0.0  # monotonic seconds: when the broker was last known to listen, or not
        self._away: SourceUnreachableError | None = None
        self._still = False  # the heartbeat stood still at the last poll
        self._standing = Standing(_FETCH_STALL_S)
        self._fetch_looked = 0.0

    def open(self) -> None:
        session_ms = int(self._settings.session_timeout_s * 1000)
        assignor = Sticky()
        self._consumer = broker.connect(
            KafkaConsumer,
            self._settings,
            bootstrap_s=self._bootstrap_s,
            client_id="goodpart",
            group_id=self._group_id,
            group_instance_id=self._settings.group_instance_id or None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            partition_assignment_strategy=[assignor],
            session_timeout_ms=session_ms,
            # Who is left hears of an agent that died a session after its last heartbeat, with the next one of its own.
            heartbeat_interval_ms=min(int(self._settings.heartbeat_s * 1000), session_ms // 6),
            max_poll_records=self._settings.max_poll_records,
            max_partition_fetch_bytes=self._fetch_bytes // 4,
            fetch_max_bytes=self._fetch_bytes,
            fetch_max_wait_ms=100,
            reconnect_backoff_max_ms=2000,
            metadata_max_age_ms=_METADATA_MS,
            metrics_enabled=False,
        )
        fetched.mend(self._consumer)
        try:
            if not broker.partitions(self._consumer, self._topic, self._bootstrap_s):
                raise SourceError(
                    f"kafka.frames_topic: the broker at {self._settings.bootstrap} has no topic {self._topic!r} "
                    "that we may read; create it, or set GOODPART_KAFKA__FRAMES_TOPIC"
                )
        except (KafkaError, SourceError) as error:
            self.close()
            raise broker.told(error, self._settings) from error
        self._consumer.subscribe([self._topic], listener=Listener(self._consumer, assignor, self._events))
        self._shut = False

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        if self._shut:
            self.open()  # it could not be begun anew while the broker was away
        self._watch_metadata()
        if self._consumer.group_metadata().state == MemberState.STABLE:
            self._joining_since = None
            self._watch_instance()
            self._watch_fetch()
        else:
            # kafka-python 3.0.12 begins a join anew when the old one ends between two polls: wait inside the poll.
            timeout_s = max(timeout_s, _JOIN_S)
            self._watch_join()
        self._take_turns()
        try:
            found = self._consumer.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except (OffsetOutOfRangeError, LogTruncationError, NoOffsetForPartitionError) as error:
            self._outside(error)
            return []
        except fetched.UnreadableError as error:
            self.pause([error.partition])
            self._events.put(Unreadable(error.partition, error.offset, str(error)))
            return []
        except FencedInstanceIdError as error:
            raise self._another() from error
        except KafkaError as error:
            raise broker.told(error, self._settings) from error
        if found:
            self._away, self._looked = None, time.monotonic()
        else:
            self._look()
        return [fetched.to_record(one) for records in found.values() for one in records]

    def _watch_metadata(self) -> None:
        """kafka-python 3.0.12 never looks at the cluster again once a look that it was waiting for has failed."""
        looking = getattr(self._consumer._cluster, "_refresh_loop_future", None)
        if looking is not None and looking.is_done:
            log.warning("consumer_stalled", metadata=True, problem=str(looking.exception))
            self._begin_anew()

    def _watch_join(self) -> None:
        """kafka-python 3.0.12 forgets a join that the group's leader began because the topic changed.

        Where the poll that began it was too short to see its end, no other would look: by then it needs none, it says.
        """
        if not self._consumer._coordinator.need_rejoin():
            self._consumer._coordinator.request_rejoin()
        now = time.monotonic()
        self._joining_since = self._joining_since or now
        if now - self._joining_since < 2 * self._settings.session_timeout_s + _STALL_S:
            return
        log.warning("consumer_stalled", joining=True, seconds=round(now - self._joining_since))
        self._begin_anew()

    def _begin_anew(self) -> None:
        held = frozenset(one.partition for one in self._consumer.assignment())
        if held:
            self._events.put(Lost(held))
        self.close()
        self._joining_since, self._shut = None, True
        self.open()

    def _take_turns(self) -> None:
        """Partitions come in turn: what was just fetched, then what is parked, then what is in line.

        kafka-python 3.0.12 hands out all that it has of one partition before it looks at what it fetched of others. It
        parks what it has of a paused one, and can forget it there: after the pause it takes the parked records up only
        where no others are in line, and mistakes used-up ones for others; until it does, it fetches none of that
        partition.
        """
        fetcher, paused = self._consumer._fetcher, self._consumer.paused()
        line, parked = fetcher._next_partition_records, fetcher._paused_partition_records
        if not line:
            fetcher._next_partition_records = None
        elif line.topic_partition in parked:
            return
        elif any(one.topic_partition not in paused for one in fetcher._completed_fetches.copy()):
            fetcher._next_partition_records, parked[line.topic_partition] = _Nobody(), line
        elif due := [one for one in parked if one not in paused]:
            fetcher._next_partition_records, parked[line.topic_partition] = parked.pop(due[0]), line

    def _watch_fetch(self) -> None:
        """Whatever else keeps kafka-python from fetching: where the log goes on and reading does not, it joins anew."""
        now = time.monotonic()
        if now - self._fetch_looked < _FETCH_LOOK_S:
            return
        self._fetch_looked = now
        read = {one.partition for one in self._consumer.assignment() - self._consumer.paused()}
        positions = {one: place.offset for one in read if (place := self.position(one)) is not None}
        still = self._standing.look(positions)
        if not still:
            return
        try:
            known = self.bounds(still)
        except SourceUnreachableError:
            return
        if behind := sorted(one for one, limits in known.items() if still[one] < limits.end):
            log.warning("consumer_stalled", partitions=behind, seconds=_FETCH_STALL_S)
            self._begin_anew()

    def _watch_instance(self) -> None:
        """kafka-python 3.0.12 tells nobody that the broker fenced a static member outside a join: no heartbeat goes."""
        fenced = bool(self._settings.group_instance_id) and not self._consumer._coordinator._heartbeat_enabled
        if fenced and self._still:
            raise self._another()
        # A member that has just joined starts its heartbeat a moment later.
        self._still = fenced

    def _another(self) -> SourceError:
        return SourceError(
            f"another process has joined as kafka.group_instance_id {self._settings.group_instance_id!r}; "
            "give each agent another one, or none"
        )

    def events(self) -> list[Event]:
        found: list[Event] = []
        while True:
            try:
                found.append(self._events.get_nowait())
            except queue.Empty:
                return found

    def stream(self) -> StreamKey:
        # kafka-python shows both ids only in its metadata cache; asking an admin client costs a connection a call.
        cluster = self._consumer._cluster
        topic_id = cluster.topic_id(self._topic)
        return StreamKey(str(cluster.cluster_id or ""), str(topic_id or self._topic), self._topic)

    def partitions(self) -> int:
        return len(self._consumer._cluster.partitions_for_topic(self._topic) or ())

    def bounds(self, partitions: Collection[int]) -> dict[int, Bounds]:
        return bounds.ask(self._consumer, self._topic, partitions)

    def seek(self, partition: int, offset: int, leader_epoch: int | None = None) -> bool:
        for one in self._held([partition]):
            with suppress(*_REVOKED):
                self._consumer.seek(one, offset)
                if leader_epoch is not None:
                    # kafka-python 3.0.12 lets nobody say it, and does with it what KIP-320 asks for.
                    self._consumer._subscription.seek(one, OffsetAndMetadata(offset, "", leader_epoch))
                return True
        return False

    def pause(self, partitions: Collection[int]) -> None:
        for one in self._held(partitions):
            with suppress(*_REVOKED):
                self._consumer.pause(one)

    def resume(self, partitions: Collection[int]) -> None:
        for one in self._held(partitions):
            with suppress(*_REVOKED):
                self._consumer.resume(one)

    def position(self, partition: int) -> Place | None:
        for one in self._held([partition]):
            with suppress(*_REVOKED):
                place = self._consumer._subscription.position(one)  # `consumer.position` may ask the broker and wait
                return None if place is None else _place(place)
        return None

    def end(self, partition: int) -> int | None:
        for one in self._held([partition]):
            with suppress(*_REVOKED):
                end: int | None = self._consumer.highwater(one)
                return end
        return None

    def commit(self, offsets: Mapping[int, int]) -> None:
        places = {TopicPartition(self._topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        try:
            self._consumer.commit_async(places)
        except KafkaError as error:
            log.debug("kafka_commit_failed", error=str(error))

    def close(self) -> None:
        if self._consumer is not None:
            try:
                self._consumer.close(autocommit=False, timeout_ms=3000)
            except KafkaError as error:
                log.debug("kafka_close_failed", error=str(error))

    def _look(self) -> None:
        """kafka-python 3.0.12 says nothing of a broker that is away: it retries, and polls give nothing."""
        if time.monotonic() - self._looked >= (_LOOK_AWAY_S if self._away else _LOOK_S):
            try:
                reach.check(self._settings.bootstrap, timeout_s=1.0)
                self._away = None
            except SourceUnreachableError as error:
                self._away = error
            self._looked = time.monotonic()
        if self._away:
            raise self._away

    def _held(self, partitions: Collection[int]) -> list[TopicPartition]:
        assigned = self._consumer.assignment()
        return [one for one in (TopicPartition(self._topic, p) for p in partitions) if one in assigned]

    def _outside(self, error: Exception) -> None:
        cut = _cut(error) if isinstance(error, LogTruncationError) else {}
        named = {*cut} or {one.partition for one in _named(error) or self._consumer.assignment()}
        cut |= {one: Place(0) for one in named - cut.keys() if self._is_older(one)}
        self.pause(named)
        for partition in named:
            # Without a position every later poll would raise for the whole assignment.
            self.seek(partition, 0)
        self._events.put(Outside(frozenset(named), cut))

    def _is_older(self, partition: int) -> bool:
        """Whether the log has not come as far yet as the leader of the last record: it is an older copy of itself.

        What it has from its start on may be other records than those that were read.
        """
        place = self.position(partition)
        led = self._consumer._cluster.leader_epoch_for_partition(TopicPartition(self._topic, partition))
        return bool(place and place.leader_epoch is not None and led is not None and 0 <= led < place.leader_epoch)


class _Nobody:
    """In kafka-python's line: what was fetched goes first. With None there, what is parked would."""

    def __bool__(self) -> bool:
        return False

    def drain(self) -> None:
        """There is nothing."""


def _named(error: Exception) -> set[TopicPartition]:
    found: set[TopicPartition] = set()
    for argument in error.args:
        if isinstance(argument, dict | set | frozenset | list | tuple):
            found |= {one for one in argument if isinstance(one, TopicPartition)}
    return found


def _cut(error: LogTruncationError) -> dict[int, Place]:
    # A leader that knows nothing of the records that were read last may have anything from its start on.
    return {one.partition: _place(place) if place else Place(0) for one, place in error.divergent_offsets.items()}


def _place(found: Any) -> Place:
    return Place(int(found.offset), fetched.known(found.leader_epoch))
