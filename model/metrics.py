"""Figures over a whole labelled set: AUROC, AP, F1-max, AUPRO. Exact; tied scores are crossed together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
AUPRO_LIMIT = 0.3  # AUPRO integrates up to this false-positive rate; `AUPRO_STRICT` is the harder one
AUPRO_STRICT = 0.05


class MetricError(Exception):
    """A figure that the set cannot give; the message says what is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What a falling threshold finds: one step for each distinct score of a positive, highest first.

    Between two scores it finds no positive, and where positives and negatives tie it rises in a straight line, so these
    steps are the whole curve.

    Attributes:
        weight: K; of the positives with this score.
        above: K; number of negatives with higher scores.
        upto: K; number of negatives with higher or equal scores.
        negatives: number of all.
    """

    weight: Doubles
    above: Doubles
    upto: Doubles
    negatives: float

    def area(self, limit: float = 1.0) -> float:
        """Area under true over false-positive rate from 0 to `limit`, divided by `limit`; AUROC where that is 1.

        Each step adds its weight times the area under its own ramp, which rises from 0 to 1 between `above` and `upto`.
        """
        start = np.minimum(self.above / self.negatives, limit)
        end = np.minimum(self.upto / self.negatives, limit)
        whole = np.maximum(self.upto - self.above, 1) / self.negatives
        ramps = limit - end + (end - start) ** 2 / (2 * whole)
        return float(self.weight @ ramps / (self.weight.sum() * limit))

    def average_precision(self) -> float:
        """Precision at each step, weighed by the recall that the step adds (no interpolation)."""
        true = np.cumsum(self.weight)
        return float(self.weight @ (true / (true + self.upto)) / true[-1])

    def f1_max(self) -> float:
        """The best F1 over all thresholds; an upper bound for any threshold chosen without the labels."""
        true = np.cumsum(self.weight)
        return float(np.max(2 * true / (true + self.upto + true[-1])))

    def points(self) -> tuple[Doubles, Doubles]:
        """False and true-positive rates of the curve's corners, from (0, 0) to (1, 1): what to draw."""
        true = np.cumsum(self.weight) / self.weight.sum()
        false = np.stack([self.above, self.upto], axis=1).ravel() / self.negatives
        rises = np.stack([np.concatenate([[0.0], true[:-1]]), true], axis=1).ravel()
        return np.concatenate([[0.0], false, [1.0]]), np.concatenate([[0.0], rises, [1.0]])


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Positives ranked among negatives: sorted once, for as many curves as there are ways to weigh the positives.

    Attributes:
        order: of the positives, highest first.
        starts: K; where in `order` each distinct score begins.
        above, upto, negatives: as in `Curve`.
    """

    order: Integers
    starts: Integers
    above: Doubles
    upto: Doubles
    negatives: int

    @classmethod
    def of(cls, positive: Scores, negative: Scores) -> Ranking:
        """Ranks scores; `negative` ascending.

        Raises:
            MetricError: one of the two kinds is missing, or a score is not finite.
        """
        if not positive.size or not negative.size:
            raise MetricError("a curve needs both good and defective examples")
        if not np.isfinite(positive).all() or not np.isfinite(negative[[0, -1]]).all():  # NaN sorts to the end
            raise MetricError("a score is not finite")
        order = np.argsort(-positive, kind="stable")
        values = positive[order]
        starts = np.flatnonzero(np.diff(values, prepend=np.inf))
        above = negative.size - np.searchsorted(negative, values[starts], "right")
        upto = negative.size - np.searchsorted(negative, values[starts], "left")
        return cls(order, starts, above.astype(np.float64), upto.astype(np.float64), negative.size)

    def curve(self, weight: Doubles | None = None) -> Curve:
        """The curve for positives of these weights (in the order in which they were given; None: 1 each)."""
        each = np.ones(self.order.size) if weight is None else weight[self.order]
        return Curve(np.add.reduceat(each, self.starts), self.above, self.upto, self.negatives)


def image_curve(labels: Sequence[int], scores: Sequence[float]) -> Curve:
    """The curve of image scores.

    Args:
        labels: 1 for a defect, 0 for good.
        scores: finite, higher is more anomalous.

    Raises:
        MetricError: one of the two kinds is missing, or a score is not finite.
    """
    values, positive = np.asarray(scores, np.float64), np.asarray(labels, bool)
    return Ranking.of(values[positive], np.sort(values[~positive])).curve()


def image_auroc(labels: Sequence[int], scores: Sequence[float]) -> float:
    """P(score of a defect > score of a good image) + P(equal) / 2; arguments and errors as of `image_curve`."""
    return image_curve(labels, scores).area()


@dataclass(frozen=True, slots=True, eq=False)
class ImagePixels:
    """One image's pixels, as the pixel figures need them: 4 bytes a normal pixel, 12 a defective one.

    Attributes:
        normal: float32; values of the map outside the mask, ascending.
        defect: float32; inside.
        weight: float64; for each of these, one over the size of its region.
        regions: connected regions of the mask (8 neighbours).
    """

    normal: Floats
    defect: Floats
    weight: Doubles
    regions: int

    @classmethod
    def of(cls, mask: Bools, anomaly_map: Floats) -> ImagePixels:
        """Splits a map (float32 H x W) by its mask (bool H x W); raises MetricError for a value that is not finite."""
        if not np.isfinite(anomaly_map).all():
            raise MetricError("an anomaly map is not finite")
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        weight = 1 / stats[:, cv2.CC_STAT_AREA].astype(np.float64)[labels[mask]]
        return cls(np.sort(anomaly_map[~mask]), anomaly_map[mask], weight, count - 1)


def pixel_ranking(images: Sequence[ImagePixels]) -> tuple[Ranking, Doubles]:
    """All pixels of a set together: defective among normal ones, and the weights that make every region count the same.

    The ranking's `curve()` gives the pixel AUROC (Bergmann et al., CVPR 2019); `curve(weights)` is per-region overlap
    over the false-positive rate of all normal pixels, and its `area(limit)` the AUPRO (Bergmann et al., IJCV 2021,
    section 5.2). Takes 4 bytes a pixel besides the images, while it sorts.

    Raises:
        MetricError: no defective pixel, or no normal one.
    """
    if not sum(image.regions for image in images):
        raise MetricError("pixel figures need at least one defect region")
    normal = np.concatenate([image.normal for image in images])
    normal.sort()
    ranking = Ranking.of(np.concatenate([image.defect for image in images]), normal)
    return ranking, np.concatenate([image.weight for image in images])


def pixel_auroc(masks: Sequence[Bools], maps: Sequence[Floats]) -> float:
    """AUROC over all pixels of all images together; masks and maps of equal sizes. Errors as of `pixel_ranking`."""
    return pixel_ranking(_split(masks, maps))[0].curve().area()


def aupro(masks: Sequence[Bools], maps: Sequence[Floats], limit: float = AUPRO_LIMIT) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate, divided by it; see `pixel_ranking`."""
    ranking, weight = pixel_ranking(_split(masks, maps))
    return ranking.curve(weight).area(limit)


def _split(masks: Sequence[Bools], maps: Sequence[Floats]) -> list[ImagePixels]:
    return [ImagePixels.of(mask, anomaly_map) for mask, anomaly_map in zip(masks, maps, strict=True)]
