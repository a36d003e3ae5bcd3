"""Figures and their intervals against scikit-learn and slow references."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from sklearn import metrics as sklearn

from model.bootstrap import Binned, image_intervals, pixel_intervals
from model.metrics import (
    Bools,
    Floats,
    ImagePixels,
    MetricError,
    aupro,
    image_auroc,
    image_curve,
    pixel_auroc,
    pixel_ranking,
)

Rows = list[tuple[int, int]]
Set = tuple[list[Bools], list[Floats]]
scored = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
)


@st.composite
def sets(draw: st.DrawFn) -> Set:
    """A few small images with random masks; `levels` distinct values make more or fewer ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 5, 50, 10_000]))
    masks = [rng.random((9, 8)) < share for share in draw(st.lists(st.floats(0, 0.6), min_size=1, max_size=4))]
    masks[0][0, :2] = True, False
    maps = [(rng.integers(0, levels, mask.shape) + rng.random() * levels * mask).round() for mask in masks]
    return masks, [one.astype(np.float32) for one in maps]


@given(scored)
def test_image_figures_equal_scikit_learn(rows: Rows) -> None:
    labels, scores = zip(*rows, strict=True)
    curve = image_curve(labels, scores)
    precision, recall, _ = sklearn.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    assert image_auroc(labels, scores) == pytest.approx(sklearn.roc_auc_score(labels, scores))
    assert curve.average_precision() == pytest.approx(sklearn.average_precision_score(labels, scores))
    assert curve.f1_max() == pytest.approx(f1.max())


@given(scored)
def test_the_drawn_curve_has_the_area_that_is_stated(rows: Rows) -> None:
    curve = image_curve(*zip(*rows, strict=True))
    false, true = curve.points()
    assert np.trapezoid(true, false) == pytest.approx(curve.area())
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()


@given(sets())
def test_pixel_auroc_equals_scikit_learn(given_set: Set) -> None:
    masks, maps = given_set
    flat = [np.concatenate([one.ravel() for one in part]) for part in (masks, maps)]
    assert pixel_auroc(masks, maps) == pytest.approx(sklearn.roc_auc_score(*flat))


def aupro_by_thresholds(masks: list[Bools], maps: list[Floats], limit: float) -> float:
    """From the definition: sweeps every threshold, looks at every region, and integrates straight lines by hand."""
    regions: list[tuple[Floats, Bools]] = []
    for mask, values in zip(masks, maps, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(values, labels == at) for at in range(1, count + 1)]
    negatives = sum(int((~mask).sum()) for mask in masks)
    curve = [(0.0, 0.0)]
    for threshold in sorted({float(value) for values in maps for value in values.ravel()}, reverse=True):
        false = sum(int((values[~mask] >= threshold).sum()) for mask, values in zip(masks, maps, strict=True))
        overlaps = [float((values[region] >= threshold).mean()) for values, region in regions]
        curve.append((false / negatives, sum(overlaps) / len(overlaps)))
    area = 0.0
    for (left, low), (right, high) in pairwise(curve):
        if left < limit and right > left:
            end = min(right, limit)
            area += (end - left) * (low + low + (high - low) * (end - left) / (right - left)) / 2
    return area / limit


@given(sets(), st.sampled_from([0.05, 0.3, 1.0]))
def test_aupro_equals_the_threshold_sweep(given_set: Set, limit: float) -> None:
    assert aupro(*given_set, limit) == pytest.approx(aupro_by_thresholds(*given_set, limit), abs=1e-9)


def test_regions_touching_at_a_corner_are_one() -> None:
    mask = np.zeros((8, 8), bool)
    mask[1, 1] = mask[2, 2] = mask[6, 6] = True
    assert ImagePixels.of(mask, np.zeros((8, 8), np.float32)).regions == 2
    missed_one = mask.astype(np.float32)
    missed_one[6, 6] = -1
    assert aupro([mask], [missed_one]) == pytest.approx(0.5)


def test_a_perfect_map_scores_one_and_an_inverted_one_nothing() -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    perfect = mask.astype(np.float32)
    assert [pixel_auroc([mask], [perfect]), aupro([mask], [perfect], 0.05)] == [1, 1]
    assert [pixel_auroc([mask], [-perfect]), aupro([mask], [-perfect])] == [0, 0]


def test_figures_that_a_set_cannot_give_are_refused() -> None:
    nothing = np.zeros((4, 4), bool)
    with pytest.raises(MetricError, match="both good and defective"):
        image_auroc([1, 1], [0.1, 0.2])
    for bad in (float("nan"), float("inf"), float("-inf")):
        for label in (0, 1):
            with pytest.raises(MetricError, match="not finite"):
                image_auroc([0, 1, label], [0.1, 0.2, bad])
        with pytest.raises(MetricError, match="not finite"):
            ImagePixels.of(nothing, np.full((4, 4), bad, np.float32))
    with pytest.raises(MetricError, match="region"):
        aupro([nothing], [np.zeros((4, 4), np.float32)])
    with pytest.raises(MetricError, match="both good and defective"):
        pixel_auroc([~nothing], [np.zeros((4, 4), np.float32)])


def pixels(count: int, seed: int) -> tuple[list[ImagePixels], list[Bools], list[Floats]]:
    rng = np.random.default_rng(seed)
    masks, maps = [], []
    for at in range(count):
        mask = np.zeros((40, 50), bool)
        if at % 2:
            mask[5:9, 3:12] = mask[20:30, 30:33] = True
        masks.append(mask)
        maps.append((rng.normal(size=mask.shape) + mask * rng.normal(1.5)).astype(np.float32))
    return [ImagePixels.of(mask, one) for mask, one in zip(masks, maps, strict=True)], masks, maps


def test_resampled_pixel_figures_are_right_to_a_thousandth() -> None:
    images, masks, maps = pixels(12, 5)
    rng = np.random.default_rng(6)
    counts = np.vstack([np.ones(12), rng.multinomial(12, np.full(12, 1 / 12), 5)])
    for count, figures in zip(counts.astype(int), Binned.of(images).resampled(counts.astype(np.float64)), strict=True):
        taken = np.repeat(np.arange(12), count)
        drawn = [masks[at] for at in taken], [maps[at] for at in taken]
        assert figures == pytest.approx([pixel_auroc(*drawn), aupro(*drawn), aupro(*drawn, 0.05)], abs=1e-3)


def test_resampled_pixel_figures_of_tied_maps_are_right_to_a_thousandth() -> None:
    images, _, _ = pixels(12, 5)
    tied = [ImagePixels(one.normal.round(), one.defect.round(), one.weight, one.regions) for one in images]
    ranking, weight = pixel_ranking(tied)
    exact = [ranking.curve().area(), ranking.curve(weight).area(0.3), ranking.curve(weight).area(0.05)]
    assert Binned.of(tied).resampled(np.ones((1, 12)))[0] == pytest.approx(exact, abs=1e-3)


def test_draws_without_a_defective_pixel_are_left_out() -> None:
    images, _, _ = pixels(4, 0)
    assert Binned.of(images).resampled(np.array([[2.0, 0, 2, 0], [1, 1, 1, 1]])).shape == (1, 3)


def test_a_kinds_overlap_is_of_its_own_regions_over_all_normal_pixels() -> None:
    images, _, _ = pixels(12, 5)
    kind = np.arange(12) % 4 == 1
    alone = [one if ours or not one.regions else replace(one, defect=one.defect[:0], weight=one.weight[:0], regions=0)
             for one, ours in zip(images, kind, strict=True)]  # fmt: skip
    ranking, weight = pixel_ranking(alone)
    found = Binned.of(images).resampled(np.ones((1, 12)), kind)[0]
    assert found == pytest.approx(
        [ranking.curve().area(), ranking.curve(weight).area(0.3), ranking.curve(weight).area(0.05)], abs=1e-3
    )
    without = np.where(kind, 0.0, 1.0)
    assert not Binned.of(images).resampled(without[None], kind).size


def test_image_intervals_are_as_wide_as_delong_says() -> None:
    rng = np.random.default_rng(1)
    good, defective = rng.normal(size=150), rng.normal(1, size=200)
    below = defective[:, None] > good[None, :]  # DeLong et al., Biometrics 44 (1988)
    error = np.sqrt(below.mean(1).var(ddof=1) / 200 + below.mean(0).var(ddof=1) / 150)
    low, high = image_intervals(good, defective, rng)["image_auroc"]
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert (low + high) / 2 == pytest.approx(below.mean(), abs=error / 4)


def test_intervals_hold_their_figure_and_repeat_with_their_seed() -> None:
    images, _, _ = pixels(20, 2)
    ranking, weight = pixel_ranking(images)
    labels = ["good", "dent", "good", "scratch"] * 5
    (once, kinds), again = (pixel_intervals(images, labels, np.random.default_rng(3)) for _ in range(2))
    assert (once, kinds) == again
    assert kinds.keys() == {"dent", "scratch"}
    assert all(0 < low < high < 1 for low, high in kinds.values())
    assert once["pixel_auroc"][0] < ranking.curve().area() < once["pixel_auroc"][1]
    assert once["aupro"][0] < ranking.curve(weight).area(0.3) < once["aupro"][1]
    assert once["aupro_05"][0] < ranking.curve(weight).area(0.05) < once["aupro_05"][1]
