"""A labelled folder, scored: what figures and a report need, without the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from model.images import GOOD, Frame, InputSpec, LabelledImage, to_frame
from model.metrics import Floats, ImagePixels, MetricError
from model.progress import OnProgress, Report

BATCH = 16
SHOWN = 4  # cases of each sort that are kept with their maps


class _Scored(Protocol):
    @property
    def score(self) -> float: ...
    @property
    def map(self) -> Floats: ...


class FolderScorer(Protocol):
    """What `collect` needs of a `model.Scorer`."""

    @property
    def spec(self) -> InputSpec: ...
    def score(self, frames: Sequence[Frame]) -> Sequence[_Scored]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One scored image; `map` is at model-input size."""

    image: LabelledImage
    score: float
    map: Floats
    spec: InputSpec

    def heatmap(self, shape: tuple[int, ...]) -> Floats:
        """The map in the coordinates of its frame: float32 shape[0] x shape[1]."""
        return to_frame(self.map, shape, self.spec)


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """The scored images of a folder.

    Attributes:
        labels: "good" or the kind of defect, for each image.
        scores: of each image.
        pixels: of each image, in its frame's own pixels; empty unless every defective image has a mask.
        alarming: the good images with the highest scores, highest first.
        missed: the defective images with the lowest scores, lowest first.
        clearest: the defective images with the highest scores, highest first.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    pixels: tuple[ImagePixels, ...]
    alarming: tuple[Case, ...]
    missed: tuple[Case, ...]
    clearest: tuple[Case, ...]


def collect(scorer: FolderScorer, images: Sequence[LabelledImage], on_progress: OnProgress | None = None) -> Cases:
    """Scores labelled images once.

    Holds a batch of frames at a time, 4 bytes for each pixel of a set with masks, and a few maps.

    Args:
        scorer: what `model.Scorer` is.
        images: good and defective test images; defects may have masks.
        on_progress: hears of each batch, phase "evaluating".

    Raises:
        MetricError: good or defective images are missing, or a score is not finite.
        FolderError: an image or a mask cannot be read.
    """
    if len({image.label == GOOD for image in images}) < 2:
        raise MetricError("a labelled folder needs test/good and at least one test/KIND with images")
    masked = all(image.label == GOOD or image.mask_path for image in images)
    scores: list[float] = []
    pixels: list[ImagePixels] = []
    alarming, missed, clearest = _Extremes(highest=True), _Extremes(highest=False), _Extremes(highest=True)
    report = Report("evaluating", len(images), on_progress)
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        frames = [image.frame() for image in batch]
        for image, frame, scored in zip(batch, frames, scorer.score(frames), strict=True):
            if not math.isfinite(scored.score):
                raise MetricError(f"{image.path}: its score is not finite; the model or its engine is broken")
            case = Case(image, scored.score, scored.map.copy(), scorer.spec)  # else the whole batch's maps would stay
            scores.append(case.score)
            for extremes in (alarming,) if image.label == GOOD else (missed, clearest):
                extremes.offer(case)
            mask = image.mask(frame.shape) if masked else None
            if mask is not None:
                pixels.append(ImagePixels.of(mask, case.heatmap(frame.shape)))
        report.advance(len(batch))
    labels = tuple(image.label for image in images)
    return Cases(labels, tuple(scores), tuple(pixels), alarming.cases, missed.cases, clearest.cases)


class _Extremes:
    """The `SHOWN` cases with the highest or the lowest scores of all that were offered."""

    def __init__(self, *, highest: bool):
        self._sign = -1 if highest else 1
        self.cases: tuple[Case, ...] = ()

    def offer(self, case: Case) -> None:
        """Keeps the case if it is one of them; of equal ones the earlier stay."""
        self.cases = tuple(sorted((*self.cases, case), key=lambda one: self._sign * one.score)[:SHOWN])
