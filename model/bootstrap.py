"""Percentile bootstrap intervals over images, drawn anew within the good and within the defective ones.

They say how far a figure would move with other test images of the same kinds, not with another training. Where no good
image outscores a defective one every draw gives 1, so with few images an interval of (1, 1) proves nothing. F1-max is a
maximum, so its draws lie a little high.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.metrics import AUPRO_LIMIT, AUPRO_STRICT, Curve, Doubles, ImagePixels, Ranking

Interval = tuple[float, float]
CONFIDENCE = 0.95
DRAWS = 1000
BINS = 4096  # of normal pixels; see `pixel_intervals`
SAMPLE = 1 << 20  # normal pixels that are enough to lay the bins out


def image_intervals(good: Doubles, defective: Doubles, rng: np.random.Generator) -> dict[str, Interval]:
    """95 % intervals of `image_auroc`, `image_ap` and `image_f1max`.

    Args:
        good: scores of the good images, at least one.
        defective: scores of the defective ones, at least one.
        rng: draws the images.
    """
    figures = []
    for _ in range(DRAWS):
        drawn = np.sort(rng.choice(good, good.size))
        curve = Ranking.of(rng.choice(defective, defective.size), drawn).curve()
        figures.append((curve.area(), curve.average_precision(), curve.f1_max()))
    return dict(zip(("image_auroc", "image_ap", "image_f1max"), _intervals(np.array(figures)), strict=True))


def pixel_intervals(
    images: Sequence[ImagePixels], defective: npt.NDArray[np.bool_], rng: np.random.Generator
) -> dict[str, Interval]:
    """95 % intervals of `pixel_auroc`, `aupro` and `aupro_05`.

    Sorting all pixels for each draw would take hours, so each image's pixels are counted once in bins, equal steps of
    the square root of the false-positive rate, and a draw adds up its images' counts. Within a bin pixels count as
    tied: at a rate of 0.05 a bin holds 0.0001 of the normal pixels, so that each figure is right to 0.001.

    Args:
        images: with at least one defective pixel.
        defective: whether each image is.
        rng: draws the images.
    """
    kinds = (np.flatnonzero(~defective), np.flatnonzero(defective))
    counts = np.zeros((DRAWS, len(images)))
    for kind in kinds:
        counts[:, kind] = rng.multinomial(kind.size, np.full(kind.size, 1 / kind.size), DRAWS)
    return dict(zip(("pixel_auroc", "aupro", "aupro_05"), _intervals(resampled(images, counts)), strict=True))


def resampled(images: Sequence[ImagePixels], counts: Doubles) -> Doubles:
    """Pixel AUROC and AUPRO at 0.3 and at 0.05, one row for each row of `counts`: how often each image is taken.

    Rows without a defective pixel or without a normal one are left out.
    """
    edges = _edges(images)
    normal, defect, overlap = (counts @ binned for binned in _binned(images, edges))
    figures = []
    for negative, positive, weight in zip(normal, defect, overlap, strict=True):
        upto = np.cumsum(negative)
        if upto[-1] and positive.any():
            roc = Curve(positive, upto - negative, upto, upto[-1])
            pro = Curve(weight, upto - negative, upto, upto[-1])
            figures.append((roc.area(), pro.area(AUPRO_LIMIT), pro.area(AUPRO_STRICT)))
    return np.array(figures)


def _edges(images: Sequence[ImagePixels]) -> npt.NDArray[np.float32]:
    """The bins' lower edges, falling; the last bin takes all that is lower."""
    every = max(1, sum(image.normal.size for image in images) // SAMPLE)
    normal = np.sort(np.concatenate([image.normal[::-every] for image in images]))
    ranks = (normal.size * (1 - np.linspace(0, 1, BINS) ** 2)).astype(np.intp).clip(0, normal.size - 1)
    return np.append(np.unique(normal[ranks])[::-1], np.float32(-np.inf))


def _binned(images: Sequence[ImagePixels], edges: npt.NDArray[np.float32]) -> tuple[Doubles, Doubles, Doubles]:
    """Images x bins: normal pixels, defective pixels, and these weighed by one over their region's size."""
    rising = edges[::-1]
    normal, defect, overlap = (np.zeros((len(images), edges.size)) for _ in range(3))
    for at, image in enumerate(images):
        upto = image.normal.size - np.searchsorted(image.normal, edges, "left")
        normal[at] = np.diff(upto, prepend=0)
        bins = edges.size - np.searchsorted(rising, image.defect, "right")
        defect[at] = np.bincount(bins, minlength=edges.size)
        overlap[at] = np.bincount(bins, image.weight, minlength=edges.size)
    return normal, defect, overlap


def _intervals(figures: Doubles) -> list[Interval]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(figures, (tail, 1 - tail), axis=0)
    return [(float(least), float(most)) for least, most in zip(low, high, strict=True)]
