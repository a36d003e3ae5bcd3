"""Order statistics, intervals and keyed draws. Pure functions; no torch."""

from __future__ import annotations

import hashlib
import math

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
    the draws that they share (Bonferroni's union bound).

    Raises:
        ValueError: successes, n or looks outside their range.
    """
    if looks < 1:
        raise ValueError(f"{looks} looks: at least 1 is allowed")
    return binomial_tail(successes, n, rate) < level / looks


def look_delta(delta: float, look: int) -> float:
    """The error that the `look`-th use of one calibration set may spend: delta * 6 / (pi^2 look^2).

    Summed over all looks it is delta, however many there are (a union bound; no independence is assumed).

    Raises:
        ValueError: look is not positive.
    """
    if look < 1:
        raise ValueError(f"look {look}: looks count from 1")
    return delta * 6 / (math.pi * look) ** 2


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
    """The fewest calibration scores that certify `rate`: the least n with 1 - (1 - rate)^n >= 1 - delta."""
    n = max(1, math.ceil(math.log(delta) / math.log1p(-rate)) - 1)
    while certifiable_k(n, rate, delta) == 0:
        n += 1
    return n


def best_rate(n: int, delta: float) -> float:
    """The best rate that n calibration scores certify, with k = 1: 1 - delta^(1/n).

    Raises:
        ValueError: n is 0.
    """
    if n < 1:
        raise ValueError("no calibration scores certify no rate")
    rate = -math.expm1(math.log(delta) / n)
    while certifiable_k(n, rate, delta) == 0:  # the closed form may round to just below
        rate = math.nextafter(rate, 1.0)
    return rate


def keyed_fraction(secret: bytes, person: str, key: str) -> float:
    """A number in [0, 1) that only the secret's holder can foretell: BLAKE2b of the key, keyed, personalised.

    Uniform and independent over distinct keys as far as BLAKE2b is a pseudo-random function. `person` separates uses
    (roles, audits) so that one draw says nothing of another.

    Args:
        secret: 16 .. 64 bytes.
        person: at most 16 bytes of ASCII.
        key: what is drawn, for example a serial.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=secret, person=person.encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
