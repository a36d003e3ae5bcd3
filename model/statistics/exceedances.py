"""Exceedances: how many later scores lie above one of the highest known ones. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

RANKS = (1, 2, 4, 8)  # the highest score is the sharpest cut, the others stand where it is an outlier


@dataclass(frozen=True, slots=True)
class Exceedances:
    """How many scores lie above the `rank`-th highest known one, and the chance of so many or more among good parts."""

    rank: int
    cut: float
    above: int
    chance: float


def exceedance_tail(above: int, later: int, known: int, rank: int) -> float:
    """P(at least `above` of `later` scores are higher than the `rank`-th highest of `known` ones).

    So many are exactly where fewer than `rank` known scores are among the highest above + rank - 1 of all, which is
    hypergeometric. Assumes that known and later scores are exchangeable; whatever their law is, ties only make it
    conservative.

    Raises:
        ValueError: above is not in 0 .. later, or rank not in 1 .. known.

    Source: Gumbel & von Schelling, "The distribution of the number of exceedances", Ann. Math. Statist. 21 (1950).
    """
    if not 0 <= above <= later:
        raise ValueError(f"{above} of {later} scores: 0 .. {later} are allowed")
    if not 1 <= rank <= known:
        raise ValueError(f"rank {rank} of {known} known scores: 1 .. {known} are allowed")
    highest = above + rank - 1
    ways = _log_choose(later + known, highest)
    among = range(max(0, highest - later), min(rank, highest + 1))
    terms = (math.exp(_log_choose(known, i) + _log_choose(later, highest - i) - ways) for i in among)
    return 1.0 if above == 0 else min(1.0, sum(terms))


def most_telling(known: Sequence[float], found: Sequence[float], later: int) -> Exceedances:
    """The cut at which those found among `later` scores are the least likely, of the ranks `RANKS`.

    Its chance is that of any of these cuts to say so much (Bonferroni's union bound). Those found may be any selection
    of the later scores, such as the flagged ones: of all there are no fewer above a cut. A known score that is not a
    number counts as higher than any, a found one as lower.

    Args:
        known: at least one.
        found: at most `later`.
        later: how many scores those found are taken from.

    Raises:
        ValueError: no known scores, or more found than there are.

    Source: that of `exceedance_tail`, at each rank.
    """
    highest = sorted((math.inf if math.isnan(one) else one for one in known), reverse=True)
    ranks = [rank for rank in RANKS if rank <= len(highest)]
    if not ranks:
        raise ValueError("no known scores: nothing is above them")
    cuts = [(rank, highest[rank - 1], sum(one > highest[rank - 1] for one in found)) for rank in ranks]
    made = (
        Exceedances(rank, cut, above, min(1.0, len(ranks) * exceedance_tail(above, later, len(highest), rank)))
        for rank, cut, above in cuts
    )
    return min(made, key=lambda one: one.chance)


def _log_choose(n: int, k: int) -> float:
    return float(-math.log(n + 1) - special.betaln(n - k + 1, k + 1))
