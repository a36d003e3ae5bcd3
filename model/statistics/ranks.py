"""Online smoothed p-values: the rank of each score among all scores before it. Pure functions.

Ranks are taken in cells, so that memory stays fixed: the gaps between the calibration scores, and the calibration
scores themselves. Within a gap the order of later scores is drawn by lot. That costs no validity: between two order
statistics exchangeable scores come in any order with equal probability, whatever the calibration scores are. (Bins
of a width taken from the calibration scores would cost it: those scores then lie in their bins unlike later ones.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EDGES = 512  # from more calibration scores so many order statistics are taken, evenly spaced
BLOCK = 128

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


def cell_edges(calibration: Sequence[float] | Reals) -> tuple[float, ...]:
    """The calibration scores between which later scores are told apart, ascending and distinct.

    Any choice that looks at the calibration scores only leaves p-values exact: within a cell lots decide (ours).

    Raises:
        ValueError: no scores, or one that is not finite.
    """
    scores = np.sort(finite(calibration))
    if not scores.size:
        raise ValueError("no calibration scores: there is nothing to rank among")
    chosen = np.linspace(0, scores.size - 1, min(scores.size, EDGES)).round().astype(int)
    return tuple(np.unique(scores[chosen]).tolist())


def cells_of(scores: Sequence[float] | Reals, edges: Sequence[float] | Reals) -> Integers:
    """The cell of each score, 0 .. 2 len(edges): 2 i + 1 for a score equal to edge i, even for the gaps.

    Raises:
        ValueError: a score is not finite.
    """
    values = finite(scores)
    return np.searchsorted(edges, values, "left") + np.searchsorted(edges, values, "right")


def p_values(cells: Integers, counts: Integers, lots: Reals) -> Reals:
    """Each score's (higher scores before it + lot * (scores before it in its cell + 1)) / (scores before it + 1).

    If the scores, those counted before included, are exchangeable, the p-values are independent and uniform on (0, 1]
    exactly. A small p-value is a high score.

    Args:
        cells: of the scores, in their order.
        counts: scores per cell before the first of them.
        lots: one a score, independent and uniform on (0, 1].

    Source: Vovk, Statistical Science 36 (2021), "Testing randomness online".
    """
    known, found = counts.astype(np.int64), []
    for start in range(0, cells.size, BLOCK):
        block = cells[start : start + BLOCK]
        before = np.tri(block.size, k=-1, dtype=bool)
        above = np.cumsum(known[::-1])[::-1] - known
        higher = above[block] + ((block[None, :] > block[:, None]) & before).sum(1)
        equal = known[block] + ((block[None, :] == block[:, None]) & before).sum(1)
        total = known.sum() + np.arange(block.size)
        found.append((higher + lots[start : start + BLOCK] * (equal + 1)) / (total + 1))
        known = known + np.bincount(block, minlength=known.size)
    return np.concatenate(found) if found else np.empty(0)


def finite(scores: Sequence[float] | Reals) -> Reals:
    """The scores as an array.

    Raises:
        ValueError: a score is not finite; such a part was not inspected and has no rank.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a score that is not finite has no rank")
    return values
