"""The patch memory, pseudo-defects, and the choice of a form, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import memory
from model.metrics import MetricError, image_auroc
from model.pseudo import KINDS, pseudo_defects
from model.selection import FOLDS, SHARES, Form, Judged, _auroc, choose, forms, judge


def levels(seed: int, count: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, c, s, s, generator=generator) for c, s in ((4, 16), (6, 8), (10, 4))]


def test_patches_are_neighbourhood_means_of_the_last_two_levels() -> None:
    given = levels(0)
    found = memory.patches(given)
    assert found.shape == (2, 16, 8, 8)
    padded = torch.nn.functional.pad(given[1].double(), (1, 1, 1, 1))
    wanted = sum(padded[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)) / 9
    torch.testing.assert_close(found[:, :6].double(), wanted, rtol=1e-5, atol=1e-6)


def test_the_nearest_distance() -> None:
    features = memory.patches(levels(1))
    rows = features.permute(0, 2, 3, 1).reshape(-1, 16)
    prototypes = rows[::7]
    wanted = torch.cdist(rows.double(), prototypes.double()).amin(1).view(2, 8, 8)
    found = memory.nearest(features, prototypes)
    far = wanted > 0.1  # the squares' difference loses what is much smaller than they are
    torch.testing.assert_close(found.double()[far], wanted[far], rtol=1e-4, atol=1e-6)
    assert 0 <= float(found[~far].max()) < 0.01 and (~far).any()


def test_a_feature_that_is_no_number_has_no_distance() -> None:
    features = memory.patches(levels(1))
    prototypes = features.permute(0, 2, 3, 1).reshape(-1, 16)[::7].clone()
    features[0, 3, 2, 5] = torch.nan
    found = memory.nearest(features, prototypes)
    assert torch.isnan(found[0, 2, 5]) and int(torch.isnan(found).sum()) == 1


def test_maps_that_are_no_numbers_are_not_judged() -> None:
    normals = maps(np.random.default_rng(0), 4)
    normals[2, 1, 5, 5] = torch.nan
    with pytest.raises(MetricError, match="not finite"):
        judge(normals, normals[:, None].clone(), forms(None, None, reconstructs=True, normals=20))


def test_prototypes_are_distinct_patches_spread_over_all_clusters() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(8) * 100
    rows = centres.repeat_interleave(50, 0) + torch.randn(400, 8, generator=generator)
    chosen = rows[memory.chosen(rows, 8, seed=3)]
    assert set(torch.cdist(chosen, centres).argmin(1).tolist()) == set(range(8))
    assert all(bool((row == rows).all(1).any()) for row in chosen)
    assert torch.equal(chosen, rows[memory.chosen(rows, 8, seed=3)])
    assert len(memory.chosen(rows[:5], 8, seed=3)) == 5


def test_only_inspected_patches_enter_the_memory() -> None:
    features = memory.patches(levels(2))
    mask = torch.zeros(2, 1, 8, 8)
    mask[1, 0, 3, 4] = 1
    masks = [torch.ones(2, 1, 16, 16), mask, torch.ones(2, 1, 4, 4)]
    assert torch.equal(memory.inspected(features, masks), features[1:2, :, 3, 4])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), per_tile=st.integers(1, 6))
def test_a_pseudo_defect_is_small_and_only_where_allowed(seed: int, per_tile: int) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.integers(40, 200, (3, 64, 96, 3), np.uint8)
    masks = np.zeros((3, 64, 96), np.bool_)
    masks[:, 30:34, 40:44] = True
    made = pseudo_defects(tiles, per_tile, np.random.default_rng(seed), masks)
    assert made.shape == (3, per_tile, 64, 96, 3)
    changed = (made != tiles[:, None]).any(-1)
    assert changed.mean() < 0.1
    rows, columns = np.nonzero(changed.any((0, 1)))
    assert rows.min() >= 30 - 14 and rows.max() <= 34 + 14  # an eighth of the shorter side, and the soft edge
    assert columns.min() >= 40 - 14 and columns.max() <= 44 + 14
    again = pseudo_defects(tiles, per_tile, np.random.default_rng(seed), masks)
    assert np.array_equal(made, again)


def test_every_kind_changes_a_textured_tile() -> None:
    tiles = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), np.uint8)
    made = pseudo_defects(tiles, len(KINDS), np.random.default_rng(2))[0]
    assert all((copy != tiles[0]).any() for copy in made)


def maps(rng: np.random.Generator, count: int) -> torch.Tensor:
    return torch.from_numpy(rng.normal(0, 1, (count, 2, 32, 32)).astype(np.float32))


@pytest.mark.parametrize(("channel", "best"), [(0, 0.0), (1, 1.0)])
def test_the_component_that_sees_the_pseudo_defects_wins(channel: int, best: float) -> None:
    rng = np.random.default_rng(0)
    normals = maps(rng, 20)
    pseudo = normals[:, None].repeat(1, 2, 1, 1, 1).clone()
    pseudo[:, :, channel, 10:13, 10:13] += 4.0
    judged = judge(normals, pseudo, forms(None, False, reconstructs=True, normals=20))
    assert choose(judged).share == best
    assert max(one.auroc for one in judged) > 0.9 > min(one.auroc for one in judged)


def test_places_that_vary_are_told_apart_only_place_by_place() -> None:
    rng = np.random.default_rng(0)
    normals = maps(rng, 20) * 0.2
    normals[:, :, :, :16] *= 20  # the left half of every part varies much
    pseudo = normals[:, None].clone()
    pseudo[:, :, :, 16:20, 24:28] += 3.0
    whole, placed = judge(normals, pseudo, forms(0.5, None, reconstructs=True, normals=20))
    assert choose([whole, placed]) == Form(0.5, positional=True)
    assert placed.auroc > whole.auroc + 0.2


def test_a_share_that_is_better_by_luck_is_not_taken() -> None:
    rng = np.random.default_rng(0)
    usual = 0
    for _ in range(20):
        normals = maps(rng, 20)
        pseudo = normals[:, None].repeat(1, 2, 1, 1, 1).clone()
        pseudo[:, :, :, 10:12, 10:12] += 2.0  # in both components alike
        judged = judge(normals, pseudo, forms(None, False, reconstructs=True, normals=20))
        usual += choose(judged).share == 0.5
    assert usual >= 15


@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_auroc_without_each_normal_is_what_is_left_of_it(n: int, copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    good, bad = rng.integers(0, 6, n).astype(float), rng.integers(0, 8, (n, copies)).astype(float)
    whole, without = _auroc(good, bad)
    assert whole == pytest.approx(image_auroc([0] * n + [1] * bad.size, [*good, *bad.ravel()]))
    for at in range(n):
        rest = np.arange(n) != at
        labels = [0] * (n - 1) + [1] * bad[rest].size
        assert without[at] == pytest.approx(image_auroc(labels, [*good[rest], *bad[rest].ravel()]))


def test_the_forms_to_choose_among() -> None:
    assert len(forms(None, None, reconstructs=True, normals=20)) == 2 * len(SHARES)
    assert {form.share for form in forms(None, None, reconstructs=False, normals=20)} == {1.0}
    assert {form.positional for form in forms(None, None, reconstructs=True, normals=FOLDS - 1)} == {False}
    only = forms(0.4, True, reconstructs=True, normals=1)
    assert choose([Judged(only[0], float("nan"))]) == Form(0.4, True)
