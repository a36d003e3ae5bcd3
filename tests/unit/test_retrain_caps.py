"""The caps of one run: exactly the oldest samples that there are places for."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent.retrain.caps import Fresh, hold_back

FRESH = st.lists(st.sampled_from([None, 1, 2, 3]), max_size=60).map(
    lambda people: [Fresh(at, one) for at, one in enumerate(people)]
)
SHARE = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])


@given(fresh=FRESH, old=st.integers(0, 100), new_share=SHARE, reviewer_share=SHARE)
def test_no_share_is_exceeded_and_nobody_waits_for_a_free_place(
    fresh: list[Fresh], old: int, new_share: float, reviewer_share: float
) -> None:
    held = hold_back(fresh, old, new_share=new_share, reviewer_share=reviewer_share)
    taken = [one for one in fresh if one.id not in held.ids]
    by = Counter(one.reviewer for one in taken)
    assert held.ids <= {one.id for one in fresh} and len(held.ids) == held.reviewers + held.run
    assert bool(held.words) == bool(held.ids)
    if new_share < 1:
        assert len(taken) <= new_share * (old + len(taken)) + 1e-6
    if reviewer_share < 1:
        assert all(count <= reviewer_share * held.places + 1e-6 for count in by.values())
    for one in fresh:  # whoever waits had no place when their turn came
        if one.id in held.ids:
            before = [other for other in taken if other.id < one.id]
            full = len(before) >= held.places
            assert full or sum(other.reviewer == one.reviewer for other in before) >= held.each


def test_one_reviewer_alone_still_gets_their_places() -> None:
    held = hold_back([Fresh(at, 1) for at in range(20)], 70, new_share=0.3, reviewer_share=0.5)
    assert (held.places, held.each, sorted(held.ids)) == (30, 15, [15, 16, 17, 18, 19])
    assert held.words == ("5 new samples wait for the next run: 5 because one reviewer has 15 of these places at most")


def test_without_limits_nothing_waits() -> None:
    held = hold_back([Fresh(at, None) for at in range(20)], 0, new_share=1, reviewer_share=1)
    assert (held.ids, held.words) == (frozenset(), "")
