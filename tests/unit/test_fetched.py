"""What is made of the bytes that a broker sends: whatever is in them, reading ends or goes on, and never spins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from agent.sources.fetched import UnreadableError, _Fetched
from tests.wire import named

GZIP = 1


def batch(first: int, names: Sequence[bytes], *, compression: int = 0) -> bytes:
    """A batch of a record for each name, with a header of that name."""
    made = MemoryRecordsBuilder(2, compression, 1 << 20, offset=first)
    for number, name in enumerate(names, first):
        made.append(1000 + number, b"s", b"%d" % number, [(named(name), b"x")])
    made.close()
    return bytes(made.buffer())


def fetched(data: bytes) -> Any:
    return _Fetched(0, TopicPartition("t", 3), MemoryRecords(data))


def taken(found: Any, n: int) -> Iterator[Any]:
    while found:
        yield from found.take(n)


@given(names=st.lists(st.binary(max_size=12), min_size=1, max_size=6), compression=st.sampled_from([0, GZIP]))
def test_headers_of_any_name_leave_all_records_readable(names: list[bytes], compression: int) -> None:
    read = list(taken(fetched(batch(0, names, compression=compression)), 2))
    assert [(one.offset, one.value) for one in read] == [(n, b"%d" % n) for n in range(len(names))]
    assert [one.headers for one in read] == [[(name.decode("utf-8", "replace"), b"x")] for name in names]


def test_a_damaged_batch_is_told_after_what_comes_before_it_and_leaves_nothing_in_line() -> None:
    damaged = bytearray(batch(2, [b"c", b"d"]))
    damaged[-1] ^= 1
    found = fetched(batch(0, [b"a", b"b"]) + damaged + batch(4, [b"e"]))
    assert [one.offset for one in found.take(10)] == [0, 1]
    with pytest.raises(UnreadableError, match=r"batch at offset 2 of partition 3 cannot be read.*crc") as told:
        found.take(10)
    assert (told.value.partition, told.value.offset) == (3, 2)
    assert not found, "its consumer fetches again"
    assert list(taken(fetched(batch(2, [b"c", b"d"])), 10)), "the same bytes, whole"


@given(at=st.integers(0, 10_000), by=st.integers(1, 255))
def test_whatever_byte_is_damaged_reading_comes_to_an_end(at: int, by: int) -> None:
    damaged = bytearray(batch(0, [b"a"]) + batch(1, [b"b"]))
    damaged[at % len(damaged)] ^= by
    found = fetched(bytes(damaged))
    try:
        assert len(list(taken(found, 1))) <= 2
    except UnreadableError:
        assert not found
