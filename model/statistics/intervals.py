"""Intervals and tails of a rate. Pure functions."""

from __future__ import annotations

from scipy import special


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a rate.

    Assumes `n` independent draws with one common rate. Conservative: covers at least `confidence`.

    Args:
        successes: 0 .. n.
        n: number of draws; 0 gives (0, 1).
        confidence: in (0, 1).

    Returns:
        Lower and upper bound, each in [0, 1].

    Raises:
        ValueError: successes or n outside their range.

    Source: Clopper & Pearson, Biometrika 26 (1934).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} draws: 0 .. n are allowed")
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, tail))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, 1 - tail))
    return low, high


def binomial_tail(successes: int, n: int, rate: float) -> float:
    """P(X >= successes) for X ~ Binomial(n, rate): the exact one-sided p-value of "the rate is at most `rate`".

    Assumes `n` independent draws with one common rate.

    Raises:
        ValueError: successes or n outside their range.

    Source: DLMF 8.17.5, the tail as a regularised incomplete beta function.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} draws: 0 .. n are allowed")
    return 1.0 if successes == 0 else float(special.betainc(successes, n - successes + 1, rate))


def exceeds_rate(successes: int, n: int, rate: float, *, level: float, looks: int) -> bool:
    """Whether so many successes contradict a rate of at most `rate`, where one looks `looks` times.

    Each look may spend level / looks, so that all looks together are wrong with probability `level` at most, whatever
    the draws that they share (Bonferroni's union bound). Assumes `n` independent draws with one common rate at each
    look, and that the number of looks was fixed before the first.

    Raises:
        ValueError: successes, n or looks outside their range.

    Source: Dunn, JASA 56 (1961), "Multiple comparisons among means", for looks instead of means.
    """
    if looks < 1:
        raise ValueError(f"{looks} looks: at least 1 is allowed")
    return binomial_tail(successes, n, rate) < level / looks
