"""What kafka-python makes of fetched bytes: one odd record, or one damaged batch, does not stop its consumer.

Read with kafka-python 3.0.12. It takes a header's name for UTF-8, which the protocol says and no broker checks, and
calls the whole batch corrupt where one is not. What it cannot read, it leaves in its line with an iterator that has
ended, and then looks for records there for ever. Where an answer has no record, it forgets the leader of the last one.
"""

from __future__ import annotations

from typing import Any

from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import KafkaError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords

from agent.frame import Record, at

MAGIC = 2  # of batches since Kafka 0.11; older ones are left to kafka-python


class UnreadableError(KafkaError):  # type: ignore[misc]
    """The batch at this offset cannot be read; asked for again, it may come whole."""

    def __init__(self, partition: int, offset: int, problem: Exception) -> None:
        super().__init__(
            f"the batch at offset {offset} of partition {partition} cannot be read ({problem}); mend the broker's log, "
            "or let it go up to behind that batch (kafka-delete-records), which is a data gap"
        )
        self.partition, self.offset = partition, offset


def mend(consumer: Any) -> None:
    """Makes a KafkaConsumer read records as this module does."""

    def fetched(fetch_offset: int, partition: TopicPartition, *more: Any, **options: Any) -> _Fetched:
        made = _Fetched(fetch_offset, partition, *more, **options)
        # An answer without a record would make the position forget the leader of the last one.
        made.leader_epoch = consumer._subscription.assignment[partition].position.leader_epoch
        return made

    consumer._fetcher.PartitionRecords = fetched


def known(leader_epoch: int) -> int | None:
    """A leader epoch of kafka-python's as ours."""
    return None if leader_epoch < 0 else leader_epoch


def to_record(one: Any) -> Record:
    """A record of kafka-python's as ours."""
    return Record(
        partition=one.partition,
        offset=one.offset,
        timestamp=at(1000 * (one.timestamp or 0)),
        key=one.key,
        headers=tuple((name, value or b"") for name, value in one.headers or ()),
        value=one.value or b"",
        leader_epoch=known(one.leader_epoch),
    )


class _Fetched(Fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one answer and partition."""

    def take(self, n: int | None = None) -> Any:
        try:
            return super().take(n)
        except Exception as error:
            self.drain()  # its iterator has ended: nothing would come any more, and nothing be fetched
            raise UnreadableError(self.topic_partition.partition, self.next_fetch_offset, error) from error

    def _unpack_records(self, tp: Any, records: MemoryRecords, *deserializers: Any) -> Any:
        return super()._unpack_records(tp, _Batches(records), *deserializers)


class _Batches:
    def __init__(self, records: MemoryRecords) -> None:
        self._records = records

    def next_batch(self) -> Any:
        data = self._records._next_slice
        if data is None or len(data) <= MemoryRecords.MAGIC_OFFSET or data[MemoryRecords.MAGIC_OFFSET] < MAGIC:
            return self._records.next_batch()
        self._records._cache_next()
        return _Batch(data)


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    """Reads names of headers that are not UTF-8 with U+FFFD in them, so that the record has its own outcome.

    Its records are cut out of bytes: what is cut out of a bytearray is copied again to become bytes.
    """

    _buffer: bytes | bytearray

    def __init__(self, data: memoryview) -> None:
        self._buffer = bytes(data)
        self._header_data = self.HEADER_STRUCT.unpack_from(self._buffer)
        self._pos = self.HEADER_STRUCT.size
        self._num_records = self._header_data[12]
        self._next_record_index = 0
        self._decompressed = False

    def _read_msg(self, *more: Any) -> Any:
        try:
            return super()._read_msg(*more)
        except UnicodeDecodeError:
            self._buffer = _Lenient(self._buffer)
            return super()._read_msg(*more)


class _Lenient(bytearray):
    """Its slices decode whatever they hold."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
