"""Records of Kafka topics read again by their offsets: no group is joined, nothing is claimed, committed or moved."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError

from agent.frame import Record, StreamKey
from agent.settings import Kafka
from agent.sources import broker, fetched
from agent.sources.base import SourceUnreachableError

_BOUNDS_MS = 10_000
_POLL_MS = 500
_STALL_S = 30.0
_NEAR = 256  # offsets read over rather than sought past
_AT_ONCE = 64


class KafkaLog:
    """What a broker's topics still hold. For one thread.

    Args:
        settings: the section [kafka]; its topics need not be those read.

    Raises:
        SourceError: no connection can be made.
    """

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._consumer: Any = broker.connect(
            KafkaConsumer,
            settings,
            client_id="goodpart-replay",
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=8 << 20,
            metadata_max_age_ms=10_000,
            metrics_enabled=False,
        )
        fetched.mend(self._consumer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close(autocommit=False, timeout_ms=3000)

    def has(self, key: StreamKey) -> bool:
        """Whether the broker has this very stream, not another one under its topic's name.

        Raises:
            SourceError: the broker does not answer, or refuses.
        """
        try:
            known = broker.partitions(self._consumer, key.topic)
        except KafkaError as error:
            raise broker.told(error, self._settings) from error
        # As KafkaSource.stream reads them: both ids are only in the client's metadata.
        cluster = self._consumer._cluster
        here = (str(cluster.cluster_id or ""), str(cluster.topic_id(key.topic) or key.topic))
        return bool(known) and here == (key.cluster_id, key.topic_id)

    def read(self, key: StreamKey, partition: int, offsets: Sequence[int]) -> Iterator[Record]:
        """The records at these offsets, ascending, without those that the log does not have any more.

        Args:
            key: a stream that the broker has.
            partition: of its topic.
            offsets: ascending.

        Raises:
            SourceError: the broker does not answer, or refuses.
        """
        try:
            yield from self._read(TopicPartition(key.topic, partition), offsets)
        except KafkaError as error:
            raise broker.told(error, self._settings) from error

    def _read(self, place: TopicPartition, offsets: Sequence[int]) -> Iterator[Record]:
        if place.partition not in broker.partitions(self._consumer, place.topic):
            return
        if self._consumer.assignment() != {place}:
            self._consumer.assign([place])
        wanted = deque(self._kept(place, offsets))
        position: int | None = None
        moved = time.monotonic()
        while wanted:
            if position is None or not position <= wanted[0] <= position + _NEAR:
                position = wanted[0]
                self._consumer.seek(place, position)
            try:
                most = min(_AT_ONCE, wanted[-1] + 1 - position)
                found = self._consumer.poll(timeout_ms=_POLL_MS, max_records=most).get(place, ())
            except OffsetOutOfRangeError:  # retention went on meanwhile
                left = deque(self._kept(place, wanted))
                if len(left) == len(wanted):
                    return  # beyond the end: truncated
                wanted, position = left, None
                continue
            for one in found:
                _skip(wanted, one.offset)
                if wanted and one.offset == wanted[0]:
                    wanted.popleft()
                    yield fetched.to_record(one)
            before, position = position, self._consumer.position(place)
            _skip(wanted, position)  # markers, and what compaction took
            if position != before:
                moved = time.monotonic()
            elif (end := self._consumer.highwater(place)) is not None and position >= end:
                return  # truncated: only what was once in the log is asked for
            elif time.monotonic() - moved > _STALL_S:
                raise SourceUnreachableError(f"the broker at {self._settings.bootstrap} gives no records; try again")

    def _kept(self, place: TopicPartition, offsets: Sequence[int]) -> list[int]:
        start = self._consumer.beginning_offsets([place], timeout_ms=_BOUNDS_MS)[place]
        return [one for one in offsets if one >= start]


def _skip(wanted: deque[int], position: int) -> None:
    """Nothing before this position comes any more."""
    while wanted and wanted[0] < position:
        wanted.popleft()
