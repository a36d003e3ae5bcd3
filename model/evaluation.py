"""Figures of one scorer on one labelled folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, Protocol

import cv2
import numpy as np

from model import metrics
from model.images import GOOD, Frame, LabelledImage
from model.metrics import MetricError
from model.training import Progress

BATCH = 16


class _Scored(Protocol):
    @property
    def score(self) -> float: ...
    @property
    def map(self) -> metrics.Floats: ...


class _Scorer(Protocol):
    def score(self, frames: Sequence[Frame]) -> Sequence[_Scored]: ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Image figures over all test images; pixel figures where every defect has a mask, else None.

    Pixel figures are at model-input size. `per_defect` is the image AUROC of each kind against all good images.
    """

    image_auroc: float
    pixel_auroc: float | None
    aupro: float | None
    best_f1: float
    n_good: int
    n_defect: int
    per_defect: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def describe(self) -> str:
        """A few lines for people."""
        pixel = "no masks, no pixel figures" if self.pixel_auroc is None else (
            f"pixel AUROC {self.pixel_auroc:.4f}  AUPRO {self.aupro:.4f}"
        )  # fmt: skip
        kinds = "  ".join(f"{kind} {value:.3f}" for kind, value in self.per_defect.items())
        return (
            f"image AUROC {self.image_auroc:.4f}  {pixel}  best F1 {self.best_f1:.4f}  "
            f"({self.n_good} good, {self.n_defect} defective test images)\n  by kind: {kinds}"
        )


def evaluate(
    scorer: _Scorer, images: Sequence[LabelledImage], on_progress: Callable[[Progress], None] | None = None
) -> Evaluation:
    """Scores labelled images and measures.

    Args:
        scorer: what `model.Scorer` is.
        images: good and defective test images; defects may have masks.
        on_progress: hears of each batch, phase "evaluating".

    Raises:
        MetricError: good or defective images are missing, or a score is not finite.
        FolderError: an image or a mask cannot be read.
    """
    scores: list[float] = []
    maps: list[metrics.Floats] = []
    masks: list[metrics.Bools] = []
    began = monotonic()
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        frames = [image.frame() for image in batch]
        for image, frame, scored in zip(batch, frames, scorer.score(frames), strict=True):
            scores.append(scored.score)
            mask = image.mask(frame.shape)
            if mask is not None:
                size = (scored.map.shape[1], scored.map.shape[0])
                masks.append(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)
                maps.append(scored.map)
        if on_progress:
            seconds = monotonic() - began
            rate = len(scores) / max(seconds, 1e-9)
            left = (len(images) - len(scores)) / rate
            on_progress(Progress("evaluating", len(scores), len(images), None, seconds, rate, left))
    return _measure(images, scores, masks, maps)


def _measure(
    images: Sequence[LabelledImage],
    scores: Sequence[float],
    masks: Sequence[metrics.Bools],
    maps: Sequence[metrics.Floats],
) -> Evaluation:
    labels = [int(image.label != GOOD) for image in images]
    if not sum(labels) or sum(labels) == len(labels):
        raise MetricError("a labelled folder needs test/good and at least one test/KIND with images")
    whole = len(masks) == len(images) and any(mask.any() for mask in masks)
    good = [score for score, label in zip(scores, labels, strict=True) if not label]
    per_defect = {}
    for kind in sorted({image.label for image in images} - {GOOD}):
        found = [score for score, image in zip(scores, images, strict=True) if image.label == kind]
        per_defect[kind] = metrics.image_auroc([0] * len(good) + [1] * len(found), [*good, *found])
    return Evaluation(
        image_auroc=metrics.image_auroc(labels, scores),
        pixel_auroc=metrics.pixel_auroc(masks, maps) if whole else None,
        aupro=metrics.aupro(masks, maps) if whole else None,
        best_f1=metrics.best_f1(labels, scores),
        n_good=len(good),
        n_defect=sum(labels),
        per_defect=per_defect,
    )
