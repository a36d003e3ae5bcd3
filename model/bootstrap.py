"""Percentile bootstrap intervals over images, drawn anew within the good and within the defective ones.

They say how far a figure would move with other test images of the same kinds, not with another training. Where no good
image outscores a defective one every draw gives 1, so with few images an interval of (1, 1) proves nothing. F1-max is a
maximum, so its draws lie a little high.

Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.images import GOOD
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
    images: Sequence[ImagePixels], labels: Sequence[str], rng: np.random.Generator
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """95 % intervals of `pixel_auroc`, `aupro` and `aupro_05`, and of the `aupro` of each kind that has a region.

    Sorting all pixels for each draw would take hours, so each image's pixels are counted once in bins, equal steps of
    the square root of the false-positive rate, and a draw adds up its images' counts. Within a bin pixels count as
    tied: at a rate of 0.05 a bin holds 0.0001 of the normal pixels, so that each figure is right to 0.001.

    Args:
        images: with at least one defective pixel.
        labels: "good" or the kind of defect, of each image.
        rng: draws the images.
    """
    kind_of = np.array(labels)
    counts = np.zeros((DRAWS, len(images)))
    for drawn in (np.flatnonzero(kind_of == GOOD), np.flatnonzero(kind_of != GOOD)):
        counts[:, drawn] = rng.multinomial(drawn.size, np.full(drawn.size, 1 / drawn.size), DRAWS)
    binned = Binned.of(images)
    names = ("pixel_auroc", "aupro", "aupro_05")
    kinds = np.unique([label for label, image in zip(labels, images, strict=True) if image.regions]).tolist()
    return dict(zip(names, _intervals(binned.resampled(counts)), strict=True)), {
        kind: _intervals(binned.resampled(counts, kind_of == kind))[1] for kind in kinds
    }


@dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Images x bins, of falling values.

    Attributes:
        normal: normal pixels.
        defect: defective ones.
        overlap: these, weighed by one over their region's size.
    """

    normal: Doubles
    defect: Doubles
    overlap: Doubles

    @classmethod
    def of(cls, images: Sequence[ImagePixels]) -> Binned:
        """Counts each image's pixels."""
        edges = _edges(images)
        rising = edges[::-1]
        normal, defect, overlap = (np.zeros((len(images), edges.size)) for _ in range(3))
        for at, image in enumerate(images):
            upto = image.normal.size - np.searchsorted(image.normal, edges, "left")
            normal[at] = np.diff(upto, prepend=0)
            bins = edges.size - np.searchsorted(rising, image.defect, "right")
            defect[at] = np.bincount(bins, minlength=edges.size)
            overlap[at] = np.bincount(bins, image.weight, minlength=edges.size)
        return cls(normal, defect, overlap)

    def resampled(self, counts: Doubles, kind: npt.NDArray[np.bool_] | None = None) -> Doubles:
        """Pixel AUROC and AUPRO at 0.3 and at 0.05, one row for each row of `counts`: how often each image is taken.

        Rows without a defective pixel or without a normal one are left out.

        Args:
            counts: rows x images.
            kind: the images whose defects count, beside all normal pixels; None: all.
        """
        some: slice | npt.NDArray[np.bool_] = slice(None) if kind is None else kind
        drawn = counts @ self.normal, counts[:, some] @ self.defect[some], counts[:, some] @ self.overlap[some]
        figures = []
        for negative, positive, weight in zip(*drawn, strict=True):
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


def _intervals(figures: Doubles) -> list[Interval]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(figures, (tail, 1 - tail), axis=0)
    return [(float(least), float(most)) for least, most in zip(low, high, strict=True)]
