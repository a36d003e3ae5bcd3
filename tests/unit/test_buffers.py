"""An answer of the broker, gathered as it comes: the same bytes as kafka-python's own buffer gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.frame import KafkaBytes

from agent.sources.buffers import _made


@given(parts=st.lists(st.binary(max_size=9), min_size=1, max_size=5), reads=st.lists(st.integers(0, 12), max_size=4))
def test_an_answer_reads_as_it_came_whatever_its_parts(parts: list[bytes], reads: list[int]) -> None:
    size = sum(map(len, parts))
    ours, theirs = _made(size), KafkaBytes(size)
    for part in parts:
        for one in (ours, theirs):
            one.write(part)
        assert (len(ours), ours.tell()) == (len(theirs), theirs.tell())
    ours.seek(0)
    theirs.seek(0)
    for n in reads:
        assert ours.read(n) == theirs.read(n)
    assert ours.read() == theirs.read()


@given(numbers=st.lists(st.binary(min_size=4, max_size=4), max_size=5))
def test_what_tells_sizes_is_written_over_and_over(numbers: list[bytes]) -> None:
    kept = _made(4)
    for number in numbers:
        kept.seek(0)
        kept.write(number[:1])
        kept.write(number[1:])
        kept.seek(0)
        assert kept.read(4) == number
        kept.seek(0)
