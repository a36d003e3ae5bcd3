"""Whether two engines of one model version agree: on each score in float32, on what they rank first below that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.cases import FolderScorer, collect
from model.images import GOOD, LabelledImage
from model.metrics import image_auroc, pixel_ranking
from model.progress import OnProgress, Report

SCORE_LIMIT = 0.001  # of the calibration scores' interquartile range
AUROC_LIMITS = {"bf16": 0.001, "int8": 0.003}  # 0.1 and 0.3 points that may be lost
ROUNDING = 1e-9  # of the limits themselves
BATCH = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """What one engine makes of the images.

    Attributes:
        calibration: scores of the calibration images; not empty.
        labelled: scores of the other labelled images, in order.
        image_auroc: defects against all good images; None where there are no defects.
        pixel_auroc: None where there are no defects, or one has no mask.
    """

    calibration: tuple[float, ...]
    labelled: tuple[float, ...] = ()
    image_auroc: float | None = None
    pixel_auroc: float | None = None

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures by name."""
        return {"image_auroc": self.image_auroc, "pixel_auroc": self.pixel_auroc}

    @property
    def spread(self) -> float:
        """Interquartile range of the calibration scores; never 0."""
        low, high = np.quantile(self.calibration, (0.25, 0.75))
        return max(float(high - low), 1e-9)


def measure(
    scorer: FolderScorer,
    calibration: Sequence[LabelledImage],
    labelled: Sequence[LabelledImage],
    on_progress: OnProgress | None = None,
) -> Measured:
    """Scores calibration images, and where there are defects the labelled ones with them.

    Raises:
        FolderError: an image or a mask cannot be read.
        MetricError: a score is not finite.
    """
    if all(image.label == GOOD for image in labelled):
        report = Report("evaluating", len(calibration), on_progress)
        scores: list[float] = []
        for start in range(0, len(calibration), BATCH):
            frames = [image.frame() for image in calibration[start : start + BATCH]]
            scores += [one.score for one in scorer.score(frames)]
            report(len(scores))
        return Measured(tuple(scores))
    cases = collect(scorer, [*calibration, *labelled], on_progress)
    held = len(calibration)
    masks = any(image.regions for image in cases.pixels)
    return Measured(
        cases.scores[:held],
        cases.scores[held:],
        image_auroc([int(label != GOOD) for label in cases.labels], cases.scores),
        pixel_ranking(cases.pixels)[0].curve().area() if masks else None,
    )


def disagreements(precision: str, reference: Measured, other: Measured) -> list[str]:
    """In what an engine differs too much from the reference; empty where it may be used in its place.

    Args:
        precision: "fp32": each score has to be within 0.001 of the reference's calibration interquartile range.
            "bf16", "int8": image AUROC, and pixel AUROC where there is one, may be lower by 0.1 and 0.3 points. Higher
            ones harm nobody: the engine's thresholds are certified on its own scores.
        reference: of the float32 torch engine.
        other: of the engine in question, on the same images.
    """
    if precision == "fp32":
        return _scores(reference, other)
    limit, found = AUROC_LIMITS[precision], []
    if reference.image_auroc is None:
        found.append(f"{precision} can only be checked on labelled defects; put images into test/good and test/KIND")
    for name, wanted in reference.figures.items():
        got = other.figures[name]
        if wanted is not None and (got is None or not got >= wanted - limit - ROUNDING):
            found.append(f"{name} {_shown(got)} was {_shown(wanted)}, and may lose {limit}")
    return found


def _scores(reference: Measured, other: Measured) -> list[str]:
    wanted, got = ((*one.calibration, *one.labelled) for one in (reference, other))
    gaps = [abs(a - b) / reference.spread for a, b in zip(wanted, got, strict=True)]
    if all(gap <= SCORE_LIMIT + ROUNDING for gap in gaps):  # written this way round, NaN disagrees
        return []
    worst = max(gaps, key=lambda gap: math.inf if math.isnan(gap) else gap)
    return [f"a score differs by {worst:.2g} of the calibration scores' interquartile range; {SCORE_LIMIT} is allowed"]


def _shown(figure: float | None) -> str:
    return "none" if figure is None else f"{figure:.5f}"
