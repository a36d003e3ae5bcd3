"""The comparison behind the quarantine: what it holds up of normals, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.hottest import COUNT, hottest
from model.images import InputSpec
from model.likeness import LEAST_NORMALS, Patches, compare

WIDE = 24


def _images(count: int, seed: int, *, shift: float = 0.0) -> Patches:
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 1, (count, COUNT, WIDE))
    found[..., 0] += shift
    return found.astype(np.float32)


def test_about_five_of_a_hundred_normals_are_held_up_and_most_defects() -> None:
    held, caught = [], []
    for seed in range(8):
        rest = _images(100, seed)
        defects = _images(30, 1000 + seed, shift=6)
        good = compare(_images(200, 2000 + seed), defects, rest)
        bad = compare(_images(50, 3000 + seed, shift=6), defects, rest)
        held.append(np.mean([good.suspect(one) for one in good.found]))
        caught.append(np.mean([bad.suspect(one) for one in bad.found]))
    assert 0.02 < np.mean(held) < 0.08
    assert np.mean(caught) > 0.95


def test_the_most_similar_defects_are_named_most_similar_first() -> None:
    defects = _images(12, 1, shift=3)
    proposals = defects[[7, 2]] + np.float32(0.01)
    found = compare(proposals, defects, _images(40, 2)).found
    assert [one.nearest[0] for one in found] == [7, 2]
    assert all(len(set(one.nearest)) == 3 for one in found)


def test_too_little_to_compare_with() -> None:
    few = _images(LEAST_NORMALS - 1, 0)
    with pytest.raises(ValueError, match="are needed"):
        compare(_images(1, 1), _images(10, 2), few)
    with pytest.raises(ValueError, match="are needed"):
        compare(_images(1, 1), _images(10, 2)[:0], _images(30, 3))


@pytest.mark.parametrize("columns", [1, 2])
def test_the_hottest_patches_are_those_under_the_hottest_places(columns: int) -> None:
    spec = InputSpec(64, 64, columns=columns)
    height, width = spec.canvas
    patches = torch.arange(2 * columns * 64, dtype=torch.float32).reshape(2 * columns, 1, 8, 8)
    maps = torch.zeros(2, height, width)
    maps[0, 8:16, 24:32] = 3  # row 1, column 3 of the first tile
    maps[1, 56:, width - 8 :] = 2  # the last patch of the last tile
    found = hottest(maps, patches, spec)
    assert found.shape == (2, COUNT, 1)
    assert found[0, 0, 0] == 8 + 3
    assert found[1, 0, 0] == 2 * columns * 64 - 1
