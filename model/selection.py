"""The form of a product's score, chosen without labels: the one that tells pseudo-defects from normals best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from model.metrics import image_auroc
from model.score import Normalisation, normalisation

SHARES = (0.0, 0.3, 0.5, 0.7, 1.0)
FOLDS = 5


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
class Choice:
    """A form, and how well it told pseudo-defects from normals: AUROC, 0 .. 1."""

    form: Form
    auroc: float


def forms(share: float | None, positional: bool | None, *, reconstructs: bool) -> list[Form]:
    """The forms to choose among; None leaves a part open. Without a student the memory alone counts."""
    shares = SHARES if share is None else (share,)
    places = (False, True) if positional is None else (positional,)
    return [Form(one, place) for one, place in product(shares if reconstructs else (1.0,), places)]


def choose(normals: Tensor, pseudo: Tensor, candidates: Sequence[Form], mask: Tensor | None = None) -> list[Choice]:
    """Ranks forms by the AUROC of pseudo-defects against the normals that they were made of, best first.

    Cross-fitted: a normal and its pseudo-defects are judged under normalisations of the other folds, since under its
    own a normal looks too good. Assumes that a form which sees small artificial changes sees real defects too;
    `bench/sweep.py` measures how far that holds.

    Args:
        normals: smoothed maps of validation normals, float32 n x C x H x W; C = 2: reconstruction, memory.
        pseudo: those of their pseudo-defects, n x P x C x H x W.
        candidates: forms; on equal AUROC the earlier one is better.
        mask: n x H x W, 1 where inspected.
    """
    if len(candidates) == 1:
        return [Choice(candidates[0], float("nan"))]
    found = []
    for form in candidates:
        good, bad = [], []
        for rest, held in _folds(len(normals)):
            fitted = normalisation(normals[rest], None if mask is None else mask[rest], positional=form.positional)
            inside = None if mask is None else mask[held]
            good += _scores(normals[held], fitted, form, inside)
            for copies in pseudo[held].unbind(1):
                bad += _scores(copies, fitted, form, inside)
        found.append(Choice(form, image_auroc([0] * len(good) + [1] * len(bad), [*good, *bad])))
    return sorted(found, key=lambda choice: -choice.auroc)


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
