"""Figures over a whole labelled set: AUROC, AUPRO, best F1. Exact, ties counted by half."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
MOST_FALSE = 0.3  # AUPRO integrates up to this false-positive rate


class MetricError(Exception):
    """A figure that the set cannot give; the message says what is missing."""


def image_auroc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """P(score of a defect > score of a good image) + P(equal) / 2.

    Args:
        labels: 1 for a defect, 0 for good.
        scores: finite, higher is more anomalous.

    Raises:
        MetricError: one of the two kinds is missing, or a score is not finite.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels, bool)
    return _auroc(values[positive], values[~positive])


def pixel_auroc(masks: Sequence[Bools], maps: Sequence[Floats]) -> float:
    """AUROC over all pixels of all images together (Bergmann et al., CVPR 2019); masks and maps of equal sizes.

    Raises:
        MetricError: no defect pixel, or no good one.
    """
    positive = [anomaly_map[mask] for mask, anomaly_map in zip(masks, maps, strict=True)]
    negative = [anomaly_map[~mask] for mask, anomaly_map in zip(masks, maps, strict=True)]
    return _auroc(np.concatenate(positive), np.concatenate(negative))


def _auroc(positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]) -> float:
    if not positive.size or not negative.size:
        raise MetricError("an AUROC needs both good and defective examples")
    if not np.isfinite(positive).all() or not np.isfinite(negative).all():
        raise MetricError("a score is not finite")
    negative = np.sort(negative)
    below = np.searchsorted(negative, positive, "left").astype(np.float64)
    upto = np.searchsorted(negative, positive, "right")
    return float((below + upto).mean() / 2 / negative.size)


def aupro(masks: Sequence[Bools], maps: Sequence[Floats]) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate of 0.3, divided by 0.3.

    The official, dataset-level definition (Bergmann et al., IJCV 2021, section 5.2): each connected region (8
    neighbours) weighs the same, false positives are counted over all good pixels of the set.

    Raises:
        MetricError: no region, or no good pixel.
    """
    regions = [cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8) for mask in masks]
    count = sum(found[0] - 1 for found in regions)
    negatives = sum(int((~mask).sum()) for mask in masks)
    if not count or not negatives:
        raise MetricError("AUPRO needs at least one defect region and one good pixel")
    overlap = [
        np.where(labels > 0, 1 / np.maximum(stats[:, cv2.CC_STAT_AREA], 1)[labels] / count, 0).ravel()
        for _, labels, stats, _ in regions
    ]
    scores = np.concatenate([anomaly_map.ravel() for anomaly_map in maps])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # tied scores are crossed together
    false = np.cumsum(np.concatenate([~mask.ravel() for mask in masks])[order])[ends] / negatives
    true = np.cumsum(np.concatenate(overlap)[order])[ends]
    false, true = np.concatenate([[0.0], false]), np.concatenate([[0.0], true])
    inside = false <= MOST_FALSE
    at = float(np.interp(MOST_FALSE, false, true))
    false, true = np.append(false[inside], MOST_FALSE), np.append(true[inside], at)
    return float(np.trapezoid(true, false) / MOST_FALSE)


def best_f1(labels: Sequence[int], scores: Sequence[float]) -> float:
    """The best F1 over all thresholds; an upper bound for any threshold chosen without the labels."""
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    values, positive = np.asarray(scores, np.float64)[order], np.asarray(labels, bool)[order]
    ends = np.flatnonzero(np.diff(values, append=-np.inf))
    true = np.cumsum(positive)[ends]
    return float(np.max(2 * true / (ends + 1 + positive.sum())))
