"""Rows in few statements, of few kinds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.store.rows import _halving


@given(st.integers(0, 3000), st.integers(1, 1500))
def test_parts_are_few_and_of_few_lengths(count: int, most: int) -> None:
    parts = [list(part) for part in _halving(range(count), most)]
    assert [one for part in parts for one in part] == list(range(count))
    assert all(len(part) <= most and len(part).bit_count() == 1 for part in parts)
    assert len(parts) <= (count // most + 1) * most.bit_length()
