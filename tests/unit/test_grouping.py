"""Which parts are told to look alike: whatever their order, in spite of a small shift, and never across a line."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.store.item_vectors import SIDE
from dashboard.grouping import ALIKE, ALONE, INCOMPARABLE, Group, Part, groups
from tests.vectors import spot


def part(id: int, row: int, column: int, looks: Sequence[float] = (3, 4), **changes: Any) -> Part:
    """A part with a hot spot there, on noise of its own."""
    return replace(Part(id, 1, 1, spot(row, column, looks, noise=id)), **changes)


def test_the_same_place_is_one_cause_and_the_largest_group_comes_first() -> None:
    parts = [part(1, 2, 2), part(2, 12, 12), part(3, 12, 12), part(4, 2, 2), part(5, 12, 12), part(6, 2, 12)]
    assert groups(parts) == [Group(ALIKE, (2, 3, 5)), Group(ALIKE, (1, 4)), Group(ALONE, (6,))]


def test_the_order_of_the_parts_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    parts = [part(n, int(rng.integers(14)), int(rng.integers(14)), list(1 + rng.random(8))) for n in range(60)]
    wanted = groups(parts)
    assert len(wanted) > 5
    for seed in range(5):
        random.Random(seed).shuffle(parts)
        assert groups(parts) == wanted


def test_half_a_cell_s_shift_still_matches_and_a_quarter_of_the_frame_does_not() -> None:
    one, other = part(1, 6, 6), part(2, 6, 10)
    assert one.vector
    heat = np.frombuffer(one.vector.heatmap, np.uint8).reshape(SIDE, SIDE).astype(float)
    between = ((heat + np.roll(heat, 1, axis=1)) / 2).astype(np.uint8)
    shifted = replace(one, id=3, vector=replace(one.vector, heatmap=between.tobytes()))
    assert groups([one, other, shifted]) == [Group(ALIKE, (1, 3)), Group(ALONE, (2,))]


def test_the_same_place_on_another_looking_part_is_another_cause() -> None:
    assert groups([part(1, 6, 6), part(2, 6, 6, (4, -3))]) == [Group(ALONE, (1, 2))]


def test_how_hot_a_part_is_does_not_matter() -> None:
    one = part(1, 6, 6)
    assert one.vector
    hotter = replace(one, id=2, vector=replace(one.vector, low=5.0, high=90.0))
    assert groups([one, hotter]) == [Group(ALIKE, (1, 2))]


@pytest.mark.parametrize("changes", [{"station_id": 2}, {"product_id": 2}])
def test_parts_of_two_stations_or_products_are_never_alike(changes: dict[str, Any]) -> None:
    assert groups([part(1, 6, 6), replace(part(2, 6, 6), **changes)]) == [Group(ALONE, (1, 2))]


def test_features_of_two_spaces_are_never_compared() -> None:
    one, other = part(1, 6, 6), part(2, 6, 6, (1, 2, 3))
    assert other.vector
    other = replace(other, vector=replace(other.vector, space="6" * 64))
    assert groups([one, other]) == [Group(ALONE, (1, 2))]


def test_one_alone_is_like_no_other_and_one_without_a_vector_is_not_comparable() -> None:
    assert groups([]) == []
    assert groups([part(1, 6, 6)]) == [Group(ALONE, (1,))]
    parts = [part(1, 6, 6, vector=None), part(3, 6, 6), part(2, 6, 6), part(4, 6, 6, vector=None)]
    assert groups(parts) == [Group(ALIKE, (2, 3)), Group(INCOMPARABLE, (1, 4))]


def test_a_flat_heatmap_is_like_no_other() -> None:
    one = part(1, 6, 6)
    assert one.vector
    flat = replace(one.vector, heatmap=bytes(SIDE * SIDE))
    assert groups([one, replace(one, id=2, vector=flat), replace(one, id=3, vector=flat)]) == [Group(ALONE, (1, 2, 3))]
