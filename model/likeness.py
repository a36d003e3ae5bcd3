"""Whether an image looks more like known defects than a normal one does: what finds wrong approvals. No torch.

An image is a few patches in the teacher's feature space. A kernel machine is fitted that gives patches of confirmed
defects 1 and those of accepted normals -1, both sides weighing the same however many there are; an image's figure is
the mean over its patches. The cut is one that 5 % of normals exceed, each judged by a machine fitted without it (cross-
fitted), so that a proposal which is a normal one is held up with about that probability.

Assumes that proposals which are normal are exchangeable with the accepted normals. They were flagged, so they are odder
than most, and more than 5 % of them may be held up. A defect of a kind that the bank does not hold may not be found.

Source: regularised least squares with a Gaussian kernel (Rifkin, Yeo & Poggio 2003); the cut is that of a cross-
conformal predictor (Vovk 2015). It finds more than distances to the nearest patches do: see docs/benchmarks.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Patches = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
RATE = 0.05  # of normals that are held up
FOLDS = 5
LEAST_NORMALS = 20  # with fewer no cut holds 5 % of them
NEAREST = 3  # defects that are named
RIDGE = 1e-3
WIDTH = 0.5  # of the kernel, as a share of the median squared distance between patches


@dataclass(frozen=True, slots=True)
class Found:
    """One proposal: its figure, and the positions of the most similar defects, most similar first."""

    figure: float
    nearest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Proposals beside the cut: a figure above it looks like a defect."""

    cut: float
    found: tuple[Found, ...]

    def suspect(self, one: Found) -> bool:
        """Whether this one looks more like a defect than 95 % of normals do."""
        return one.figure > self.cut


def compare(proposals: Patches, defects: Patches, normals: Patches) -> Compared:
    """Holds proposals against defects and normals.

    Args:
        proposals: N x k x D, patches of each image.
        defects: B x k x D, of the bank, at least one.
        normals: M x k x D, of accepted normals in random order, at least `LEAST_NORMALS`.

    Raises:
        ValueError: too few defects or normals.
    """
    if not len(defects) or len(normals) < LEAST_NORMALS:
        raise ValueError(f"{len(defects)} defects and {len(normals)} normals: 1 and {LEAST_NORMALS} are needed")
    fold = np.arange(len(normals)) % FOLDS
    figures = np.empty(len(normals))
    for held in range(FOLDS):
        figures[fold == held] = _Machine(defects, normals[fold != held]).figures(normals[fold == held])
    k = math.floor(RATE * (len(normals) + 1))
    alike = _squared(_rows(proposals), _rows(defects)).reshape(*proposals.shape[:2], *defects.shape[:2]).min((1, 3))
    order = np.argsort(alike, axis=1, kind="stable")[:, :NEAREST]
    found = zip(_Machine(defects, normals).figures(proposals).tolist(), order.tolist(), strict=True)
    return Compared(float(np.sort(figures)[-k]), tuple(Found(figure, tuple(row)) for figure, row in found))


class _Machine:
    """The least-squares machine of one bank and some normals, on features scaled to unit deviation."""

    def __init__(self, defects: Patches, normals: Patches):
        sides = [_rows(defects), _rows(normals)]
        rows = np.concatenate(sides)
        self._centre, self._spread = rows.mean(0), rows.std(0) + 1e-6
        self._known = self._scaled(rows)
        apart = _squared(self._known, self._known)
        self._width = WIDTH * max(float(np.median(apart)), 1e-6)
        wanted = np.repeat((1.0, -1.0), [len(side) for side in sides])
        each = np.repeat([2 * len(side) for side in sides], [len(side) for side in sides])  # its weight is 1 / each
        self._weights = np.linalg.solve(np.exp(-apart / self._width) + RIDGE * np.diag(each), wanted)

    def figures(self, images: Patches) -> Doubles:
        """Of each image: about 1 where it looks like the defects, about -1 where like the normals."""
        near = np.exp(-_squared(self._scaled(_rows(images)), self._known) / self._width)
        return np.asarray((near @ self._weights).reshape(images.shape[:2]).mean(1), np.float64)

    def _scaled(self, rows: Doubles) -> Doubles:
        return np.asarray((rows - self._centre) / self._spread, np.float64)


def _rows(images: Patches) -> Doubles:
    return images.reshape(-1, images.shape[-1]).astype(np.float64)


def _squared(a: Doubles, b: Doubles) -> Doubles:
    """Squared Euclidean distances between all rows of a and of b."""
    return np.asarray(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0), np.float64)
