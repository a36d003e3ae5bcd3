"""The form of a product's score, chosen without labels: by how well it tells pseudo-defects from normals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.metrics import MetricError
from model.score import Normalisation, normalisation

SHARES = (0.0, 0.3, 0.5, 0.7, 1.0)
FOLDS = 5
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Form:
    """How a version's maps become its score.

    Attributes:
        share: of the memory's map in the sum, 0 .. 1.
        positional: whether maps are normalised place by place, or as a whole.
    """

    share: float
    positional: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A form, and how well it told pseudo-defects from normals.

    Attributes:
        form: see there.
        auroc: 0 .. 1.
        without: the same without each normal and what was made of it, in turn: what a standard error comes from.
    """

    form: Form
    auroc: float
    without: tuple[float, ...] = ()


def forms(share: float | None, positional: bool | None, *, reconstructs: bool, normals: int) -> list[Form]:
    """The forms to choose among; None leaves a part open.

    Without a student the memory alone counts. Fewer validation normals than `FOLDS` say too little of one place: maps
    are then normalised as a whole, unless place by place is asked for.
    """
    shares = SHARES if share is None else (share,)
    open_ = (False, True) if normals >= FOLDS else (False,)
    places = open_ if positional is None else (positional,)
    return [Form(one, place) for one, place in product(shares if reconstructs else (1.0,), places)]


def choose(judged: Sequence[Judged]) -> Form:
    """The form to use, given all that were judged; a single one is not questioned.

    Few normals tell forms apart badly, and the best of ten is often the luckiest one. So maps are normalised in the way
    that is better on average over the shares; and the share is the one nearest to a half (both components alike) unless
    another is better by more than one standard error of their difference (Breiman et al. 1984, section 3.4.3).
    """
    average = {
        positional: fmean(one.auroc for one in judged if one.form.positional == positional)
        for positional in sorted({one.form.positional for one in judged})
    }
    placed = [one for one in judged if one.form.positional == max(average, key=average.__getitem__)]
    usual = min(placed, key=lambda one: abs(one.form.share - 0.5))
    best = max(placed, key=lambda one: one.auroc)
    return (best if best.auroc - usual.auroc > _standard_error(best, usual) else usual).form


def _standard_error(one: Judged, other: Judged) -> float:
    """Of the difference of two forms' AUROC on the same normals, by the jackknife (Efron & Tibshirani 1993, ch. 11)."""
    differences = np.subtract(one.without, other.without)
    return math.sqrt((len(differences) - 1) * differences.var()) if len(differences) > 1 else math.inf


def judge(normals: Tensor, pseudo: Tensor, candidates: Sequence[Form], mask: Tensor | None = None) -> list[Judged]:
    """Measures forms by the AUROC of pseudo-defects against the normals that they were made of.

    Cross-fitted: a normal and its pseudo-defects are judged under normalisations of the other folds, since under its
    own a normal looks too good. Assumes that a form which sees small artificial changes sees real defects too;
    `bench/sweep.py` measures how far that holds.

    Args:
        normals: smoothed maps of validation normals, float32 n x C x H x W; C = 2: reconstruction, memory.
        pseudo: those of their pseudo-defects, n x P x C x H x W.
        candidates: forms.
        mask: n x H x W, 1 where inspected.

    Raises:
        MetricError: a score is not finite.
    """
    found = []
    for form in candidates:
        good, bad = np.empty(len(normals)), np.empty(pseudo.shape[:2])
        for rest, held in _folds(len(normals)):
            fitted = normalisation(normals[rest], None if mask is None else mask[rest], positional=form.positional)
            inside = None if mask is None else mask[held]
            good[held] = _scores(normals[held], fitted, form, inside)
            for copy, copies in enumerate(pseudo[held].unbind(1)):
                bad[held, copy] = _scores(copies, fitted, form, inside)
        if not (np.isfinite(good).all() and np.isfinite(bad).all()):
            raise MetricError("a score is not finite")
        found.append(Judged(form, *_auroc(good, bad)))
    return found


def _auroc(good: Doubles, bad: Doubles) -> tuple[float, tuple[float, ...]]:
    """AUROC of scores n and n x P, and the same without each row in turn."""
    wins = ((bad[None] > good[:, None, None]) + (bad[None] == good[:, None, None]) / 2).mean(2)  # normal x made of
    n = len(good)
    left = wins.sum() - wins.sum(0) - wins.sum(1) + wins.diagonal()
    return float(wins.mean()), tuple((left / max(1, (n - 1) ** 2)).tolist())


def _scores(maps: Tensor, fitted: Normalisation, form: Form, mask: Tensor | None) -> list[float]:
    normal = fitted(maps)
    total = normal[:, 0] if normal.shape[1] == 1 else torch.lerp(normal[:, 0], normal[:, 1], form.share)
    inside = total if mask is None else torch.where(mask > 0, total, -torch.inf)
    scores: list[float] = inside.flatten(1).amax(1).tolist()
    return scores


def _folds(count: int) -> Iterator[tuple[list[int], list[int]]]:
    at = np.arange(count)
    for fold in range(min(FOLDS, count)):
        held = at % FOLDS == fold
        yield (at[~held].tolist() or at.tolist()), at[held].tolist()
