"""Figures of one scorer on one labelled folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.bootstrap import Interval, image_intervals, pixel_intervals
from model.cases import Cases, FolderScorer, collect
from model.images import GOOD, LabelledImage
from model.metrics import AUPRO_LIMIT, AUPRO_STRICT, image_curve, pixel_ranking
from model.progress import OnProgress

NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1max": "image F1-max",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO at 0.3",
    "aupro_05": "AUPRO at 0.05",
}


@dataclass(frozen=True, slots=True)
class KindFigures:
    """One kind of defect against all good images; `aupro` (limit 0.3) is of its regions, over all normal pixels.

    The intervals are 95 % bootstrap intervals; draws without an image of this kind count for nothing.
    """

    n: int
    image_auroc: float
    image_auroc_interval: Interval
    aupro: float | None
    aupro_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Image figures over all test images; pixel figures where every defective image has a mask, else None.

    Pixel figures are measured in the frames' own pixels. `aupro` has the limit 0.3, `aupro_05` 0.05. `intervals` holds
    a 95 % bootstrap interval for each figure that there is, by its name (see `model.bootstrap`).
    """

    image_auroc: float
    image_ap: float
    image_f1max: float
    pixel_auroc: float | None
    aupro: float | None
    aupro_05: float | None
    n_good: int
    n_defect: int
    per_defect: dict[str, KindFigures]
    intervals: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def describe(self) -> str:
        """A few lines for people."""
        lines = [f"{self.n_good} good and {self.n_defect} defective test images; in brackets 95 % bootstrap intervals"]
        for key, (low, high) in self.intervals.items():
            lines.append(f"  {NAMES[key]:13}  {getattr(self, key):.4f}  [{low:.4f}, {high:.4f}]")
        if self.pixel_auroc is None:
            lines.append("  no pixel figures: defective images without a mask")
        width = max(map(len, self.per_defect))
        for kind, one in self.per_defect.items():
            low, high = one.image_auroc_interval
            lines.append(f"  {kind:{width}}  n {one.n:<4} image AUROC {one.image_auroc:.3f} [{low:.3f}, {high:.3f}]")
            if one.aupro is not None and one.aupro_interval is not None:
                low, high = one.aupro_interval
                lines[-1] += f"  AUPRO at 0.3 {one.aupro:.3f} [{low:.3f}, {high:.3f}]"
        return "\n".join(lines)


def evaluate(
    scorer: FolderScorer,
    images: Sequence[LabelledImage],
    on_progress: OnProgress | None = None,
    *,
    rng: np.random.Generator | None = None,
) -> Evaluation:
    """Scores labelled images and measures; arguments and errors as of `model.cases.collect` and `measure`."""
    return measure(collect(scorer, images, on_progress), rng=rng)


def measure(cases: Cases, *, rng: np.random.Generator | None = None) -> Evaluation:
    """All figures of scored images.

    Args:
        cases: of good and of defective images.
        rng: draws for the intervals; None: seeded with 0, so that the same scores give the same intervals.
    """
    rng = rng or np.random.default_rng(0)
    labels, scores = np.array(cases.labels), np.array(cases.scores, np.float64)
    defective = labels != GOOD
    good = scores[~defective]
    kinds = np.unique(labels[defective]).tolist()
    curve = image_curve(defective.tolist(), cases.scores)
    pixels, overlaps, intervals, within = _pixel_figures(cases, kinds, rng)
    per_defect = {}
    for kind in kinds:
        found = scores[labels == kind]
        interval = image_intervals(good, found, rng)["image_auroc"]
        auroc = image_curve([0] * good.size + [1] * found.size, [*good, *found]).area()
        per_defect[kind] = KindFigures(found.size, auroc, interval, overlaps.get(kind), within.get(kind))
    return Evaluation(
        image_auroc=curve.area(),
        image_ap=curve.average_precision(),
        image_f1max=curve.f1_max(),
        pixel_auroc=pixels.get("pixel_auroc"),
        aupro=pixels.get("aupro"),
        aupro_05=pixels.get("aupro_05"),
        n_good=good.size,
        n_defect=int(defective.sum()),
        per_defect=per_defect,
        intervals=image_intervals(good, scores[defective], rng) | intervals,
    )


def _pixel_figures(
    cases: Cases, kinds: Sequence[str], rng: np.random.Generator
) -> tuple[dict[str, float], dict[str, float], dict[str, Interval], dict[str, Interval]]:
    """The set's pixel figures, the AUPRO of each kind that has a region, and both's intervals; empty without masks."""
    if not any(image.regions for image in cases.pixels):
        return {}, {}, {}, {}
    ranking, weight = pixel_ranking(cases.pixels)
    regions = ranking.curve(weight)
    figures = {
        "pixel_auroc": ranking.curve().area(),
        "aupro": regions.area(AUPRO_LIMIT),
        "aupro_05": regions.area(AUPRO_STRICT),
    }
    sizes = [image.defect.size for image in cases.pixels]
    shares = {kind: weight * np.repeat([label == kind for label in cases.labels], sizes) for kind in kinds}
    overlaps = {kind: ranking.curve(share).area(AUPRO_LIMIT) for kind, share in shares.items() if share.any()}
    return figures, overlaps, *pixel_intervals(cases.pixels, cases.labels, rng)
