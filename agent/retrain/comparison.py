"""Scores of a model on a snapshot, and what two models' scores say about each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from agent.retrain.gate import Caught, Evidence, caught, cut
from agent.retrain.progress import Stage
from agent.store.samples import Sample, Snapshot
from model.certificate import Certificate
from model.engines import Scorer
from model.images import Frame

BATCH = 16
Load = Callable[[Sample], Frame]


@dataclass(frozen=True, slots=True)
class Lists:
    """A snapshot's samples by what they are for, each in the order of their pixels' hashes."""

    train: tuple[Sample, ...]
    calibration: tuple[Sample, ...]
    holdout: tuple[Sample, ...]
    defects: tuple[Sample, ...]

    @classmethod
    def of(cls, snapshot: Snapshot) -> Lists:
        """Divides by role."""
        return cls(*(snapshot.of_role(role) for role in ("train", "calibration", "holdout", "defect")))

    @property
    def unit(self) -> str:
        """`part` where every calibration and hold-out image names its serial, else `frame`."""
        return "part" if all(one.serial for one in self.calibration + self.holdout) else "frame"

    @property
    def units(self) -> int:
        """How many calibration scores there are."""
        return len({one.serial for one in self.calibration}) if self.unit == "part" else len(self.calibration)


@dataclass(frozen=True, slots=True)
class Scores:
    """One model's scores; calibration and hold-out per unit, defects per image in the order of `Lists.defects`."""

    calibration: tuple[float, ...]
    holdout: tuple[float, ...]
    defects: tuple[float, ...]


def score_images(scorer: Scorer, samples: Sequence[Sample], load: Load, stage: Stage) -> tuple[float, ...]:
    """Scores of the samples' images, in their order."""
    rest, scores = iter(samples), list[float]()
    while batch := list(islice(rest, BATCH)):
        scores += [one.score for one in scorer.score([load(sample) for sample in batch])]
        stage.advance(len(batch))
    return tuple(scores)


def units(samples: Sequence[Sample], scores: Sequence[float], unit: str) -> tuple[float, ...]:
    """From scores of images to scores of units: of a part, the largest of its images'."""
    if unit == "frame":
        return tuple(scores)
    parts: dict[str | None, list[float]] = {}
    for sample, score in zip(samples, scores, strict=True):
        parts.setdefault(sample.serial, []).append(score)
    # numpy's max, because a score that is not a number must not vanish.
    return tuple(float(np.max(found)) for found in parts.values())


def score_rest(scorer: Scorer, lists: Lists, load: Load, stage: Stage) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores of the hold-out units, and of the defects."""
    holdout = units(lists.holdout, score_images(scorer, lists.holdout, load, stage), lists.unit)
    return holdout, score_images(scorer, lists.defects, load, stage)


def evidence(
    lists: Lists, challenger: Scores, champion: Scores, certificate: Certificate, *, min_defects: int
) -> Evidence:
    """The gate's numbers: both models are cut at the challenger's k on the same calibration set.

    Nothing is certified here: the champion's cut is for comparison only.
    """
    k = max(certificate.review_k, 1)
    new, old = cut(challenger.calibration, k), cut(champion.calibration, k)
    flags = _flags(champion.defects, old, challenger.defects, new)
    flagged_origin = [one.origin == "flagged" for one in lists.defects]
    normals = caught(_flags(champion.holdout, old, challenger.holdout, new))
    return Evidence(
        look=certificate.look,
        calibration=certificate.n,
        review_k=certificate.review_k,
        review_rate=certificate.review_rate,
        certified_review_rate=certificate.certified_review_rate if certificate.certified else None,
        holdout=len(challenger.holdout),
        holdout_new_only=normals.won,
        holdout_old_only=normals.lost,
        neutral=_of_origin(flags, flagged_origin, False),
        flagged=_of_origin(flags, flagged_origin, True),
        min_defects=min_defects,
    )


def _flags(champion: Sequence[float], old: float, challenger: Sequence[float], new: float) -> list[tuple[bool, bool]]:
    return [(one > old, other > new) for one, other in zip(champion, challenger, strict=True)]


def _of_origin(flags: Sequence[tuple[bool, bool]], flagged_origin: Sequence[bool], wanted: bool) -> Caught:
    return caught(pair for pair, origin in zip(flags, flagged_origin, strict=True) if origin == wanted)
