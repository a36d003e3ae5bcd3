"""Figures against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.metrics import MetricError, aupro, best_f1, image_auroc, pixel_auroc

scored = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=40).filter(
    lambda rows: 0 < sum(label for label, _ in rows) < len(rows)
)


@given(scored)
def test_auroc_counts_pairs_and_ties_by_half(rows: list[tuple[int, int]]) -> None:
    good = [score for label, score in rows if not label]
    bad = [score for label, score in rows if label]
    pairs = [(b > g) + (b == g) / 2 for b in bad for g in good]
    assert image_auroc(*zip(*rows, strict=True)) == pytest.approx(np.mean(pairs))


@given(scored)
def test_best_f1_tries_every_threshold(rows: list[tuple[int, int]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    tried = []
    for threshold in set(scores.tolist()):
        flagged = scores >= threshold
        tried.append(2 * (flagged & (labels == 1)).sum() / (flagged.sum() + labels.sum()))
    assert best_f1(labels.tolist(), scores.tolist()) == pytest.approx(max(tried))


def aupro_by_thresholds(masks: list[np.ndarray], maps: list[np.ndarray], regions: list[list[np.ndarray]]) -> float:
    thresholds = sorted({float(v) for m in maps for v in m.ravel()}, reverse=True)
    negatives = sum((~mask).sum() for mask in masks)
    false, true = [0.0], [0.0]
    for threshold in thresholds:
        flagged = [m >= threshold for m in maps]
        false.append(sum((f & ~mask).sum() for f, mask in zip(flagged, masks, strict=True)) / negatives)
        true.append(float(np.mean([f[r].mean() for f, rs in zip(flagged, regions, strict=True) for r in rs])))
    grid = np.linspace(0, 0.3, 30_001)
    return float(np.trapezoid(np.interp(grid, false, true), grid) / 0.3)


def test_aupro_weighs_regions_equally_and_stops_at_its_false_positive_rate() -> None:
    rng = np.random.default_rng(3)
    masks = [np.zeros((20, 20), bool) for _ in range(3)]
    masks[0][2:4, 2:4] = masks[0][10:18, 10:18] = masks[1][5:9, 1:3] = True
    maps = [(rng.integers(0, 400, mask.shape) / 100 + 2 * mask).astype(np.float32) for mask in masks]
    small, large, other = (np.zeros((20, 20), bool) for _ in range(3))
    small[2:4, 2:4] = large[10:18, 10:18] = other[5:9, 1:3] = True
    assert aupro(masks, maps) == pytest.approx(
        aupro_by_thresholds(masks, maps, [[small, large], [other], []]), abs=1e-3
    )


def test_a_perfect_map_scores_one_and_an_inverted_one_nothing() -> None:
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    perfect = mask.astype(np.float32)
    assert [pixel_auroc([mask], [perfect]), aupro([mask], [perfect])] == pytest.approx([1, 1], abs=1e-6)
    assert [pixel_auroc([mask], [-perfect]), aupro([mask], [-perfect])] == pytest.approx([0, 0], abs=1e-6)


def test_figures_that_a_set_cannot_give_are_refused() -> None:
    with pytest.raises(MetricError):
        image_auroc([1, 1], [0.1, 0.2])
    with pytest.raises(MetricError):
        image_auroc([0, 1], [0.1, float("nan")])
    with pytest.raises(MetricError):
        aupro([np.zeros((4, 4), bool)], [np.zeros((4, 4), np.float32)])
