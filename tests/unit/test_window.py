"""Whatever order frames finish in, what is committed has no gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline.window import Window


@pytest.mark.promise(1)
@given(data=st.data())
def test_any_completion_order_commits_a_gap_free_prefix(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=40))
    offsets = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    order = data.draw(st.permutations(offsets))
    limit = data.draw(st.integers(1, 8))
    arrivals = data.draw(st.integers(1, len(offsets)))
    window: Window[int] = Window()
    committed: list[int] = []
    finished: set[int] = set()
    arrived: list[int] = []
    waiting = list(offsets)
    for offset in order:
        while waiting and (offset not in arrived or len(arrived) < arrivals):
            arrived.append(waiting.pop(0))
            window.arrive(arrived[-1])
        window.finish(offset, offset)
        finished.add(offset)
        if data.draw(st.booleans()):
            prefix = window.prefix(limit)
            window.pop(len(prefix))
            committed += prefix
        # Committed is exactly the start of the log, and all of it is finished.
        assert committed == offsets[: len(committed)]
        assert set(committed) <= finished
    while prefix := window.prefix(limit):
        window.pop(len(prefix))
        committed += prefix
    assert committed == offsets
    assert len(window) == 0


def test_offsets_only_rise() -> None:
    window: Window[str] = Window()
    window.arrive(4)
    with pytest.raises(ValueError, match="offset 4 arrived after 4"):
        window.arrive(4)


@pytest.mark.parametrize("offset", [4, 5])
def test_a_frame_finishes_once_and_only_after_it_arrived(offset: int) -> None:
    window: Window[str] = Window()
    window.arrive(4)
    window.finish(4, "done")
    with pytest.raises(ValueError, match="not in flight"):
        window.finish(offset, "again")
