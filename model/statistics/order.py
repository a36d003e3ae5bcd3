"""Order statistics: which calibration score bounds which rate. Pure functions."""

from __future__ import annotations

import math
from functools import cache

from scipy import special

USELESS = 0.5  # a certificate that lets half of the good parts be flagged says nothing


def look_delta(delta: float, look: int) -> float:
    """The error that the `look`-th use of one calibration set may spend: delta * 6 / (pi^2 look^2).

    Summed over all looks it is delta, however many there are (a union bound; no independence is assumed).

    Raises:
        ValueError: look is not positive.

    Source: goodpart's model.md, "Certificate"; that 1 / j^2 sums to pi^2 / 6: DLMF 25.6.1.
    """
    if look < 1:
        raise ValueError(f"look {look}: looks count from 1")
    return delta * 6 / (math.pi * look) ** 2


def threshold_delta(confidence: float, look: int) -> float:
    """The error of each of a certificate's two thresholds, review and reject, at that look: half of the look's.

    A union bound over both; no independence is assumed. Source: goodpart's model.md, "Certificate".
    """
    return look_delta(1 - confidence, look) / 2


def certifiable_k(n: int, rate: float, delta: float) -> int:
    """The largest k for which the k-th largest of n calibration scores bounds the flag rate by `rate`.

    The flag rate of "score > k-th largest" is Beta(k, n + 1 - k) at most, so k is certified where
    P(Beta(k, n + 1 - k) <= rate) >= 1 - delta. Assumes that calibration scores and future good scores are
    exchangeable; ties only make it conservative.

    Returns:
        k in 1 .. n, or 0 where even k = 1 is not certifiable.

    Source: order statistics (David & Nagaraja 2003, 2.1); so used by Vovk, ACML 2012, and Angelopoulos & Bates 2023.
    """
    low, high = 0, n
    while low < high:
        middle = (low + high + 1) // 2
        if float(special.betainc(middle, n + 1 - middle, rate)) >= 1 - delta:
            low = middle
        else:
            high = middle - 1
    return low


def smallest_n(rate: float, delta: float) -> int:
    """The fewest calibration scores that certify `rate`: the least n with 1 - (1 - rate)^n >= 1 - delta.

    Assumes exchangeable scores, as `certifiable_k` does, of which this is k = 1.

    Source: Wilks, Ann. Math. Statist. 12 (1941), "Determination of sample sizes for setting tolerance limits".
    """
    n = max(1, math.ceil(math.log(delta) / math.log1p(-rate)) - 1)
    while certifiable_k(n, rate, delta) == 0:
        n += 1
    return n


@cache
def needed_n(rate: float, confidence: float, look: int) -> int:
    """The fewest calibration scores of which the certificate of that look certifies `rate`; it rises with the look.

    Assumes exchangeable scores, as `certifiable_k` does, and that every look before was one at the same set, grown or
    not: 82, 109, 125, ... for 5 % at 95 %. Source: goodpart's model.md, "Certificate".
    """
    return smallest_n(rate, threshold_delta(confidence, look))


def best_rate(n: int, delta: float) -> float:
    """The best rate that n calibration scores certify, with k = 1: 1 - delta^(1/n).

    Assumes exchangeable scores, as `certifiable_k` does.

    Raises:
        ValueError: n is 0.

    Source: that of `smallest_n`, solved for the rate.
    """
    if n < 1:
        raise ValueError("no calibration scores certify no rate")
    rate = -math.expm1(math.log(delta) / n)
    while certifiable_k(n, rate, delta) == 0:  # the closed form may round to just below
        rate = math.nextafter(rate, 1.0)
    return rate
