"""Bets that p-values stop being uniform at some time: one martingale over all such times. Pure functions."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from model.statistics.ranks import Integers, Reals

# What scores may turn into, in normal scores: shift and spread, in standard deviations of what they were.
BETS = (
    *((shift, 1.0) for shift in (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 2.0)),
    (0.0, 0.5),
    (0.0, 2.0),
)
SMALLEST = 2.0**-53


def log_factors(p: Reals) -> Reals:
    """What each bet multiplies its stake by, as natural logarithms: one row a p-value, one column a bet.

    A bet is the density of Normal(shift, spread) over that of Normal(0, 1) at the normal score z of 1 - p, so its mean
    over uniform p is 1. p nearer to 0 or 1 than 2^-53 counts as that. Assumes nothing of what
    p may turn into: another change than these only pays less.

    Source: Vovk, Nouretdinov & Gammerman, ICML 2003, "Testing exchangeability on-line", with densities as bets.
    """
    shift, spread = np.array(BETS).T
    z = -special.ndtri(np.clip(p, SMALLEST, 1 - SMALLEST))[:, None]
    return np.asarray((z * z - ((z - shift) / spread) ** 2) / 2 - np.log(spread))


def log_reserve(n: Integers) -> Reals:
    """The part of the wealth that is not staked yet after n p-values: 1 / log2(n + 2), as a natural logarithm.

    It falls from 1 so slowly that a change after n p-values still finds about 1 / (n log^2 n) for its own bet: the
    price in evidence for not knowing when grows with the logarithm of n only.

    Source: ours; a mixture over times whose weights sum to at most 1 is a martingale as well (see `log_wealths`).
    """
    return np.asarray(-np.log(np.log2(n + 2.0)))


def log_wealths(p: Reals, n: int, stakes: Reals) -> Reals:
    """The wealth in each bet after each p-value: one row a p-value, one column a bet, natural logarithms.

    Before each p-value a little of the reserve goes into every bet, to stay there: each bet is a mixture over the
    times at which the change may have been.

    Args:
        p: p-values, in their order.
        n: p-values before the first of them.
        stakes: wealth in each bet before the first of them; -inf for none.

    Source: after Volkhonskiy et al., COPA 2017, and Vovk et al., COPA 2021, "Retrain or not retrain", with a mixture
    over times instead of CUSUM or Shiryaev-Roberts, which only bound how often false alarms come.
    """
    if not p.size:
        return np.empty((0, stakes.size))
    at = np.arange(n, n + p.size)
    # reserve(at) - reserve(at + 1), without cancellation
    put = log_reserve(at) + log_reserve(at + 1) + np.log(np.log1p(1 / (at + 2)) / math.log(2))
    grown = np.cumsum(log_factors(p), axis=0)
    entered = put[:, None] - np.vstack([np.zeros(stakes.size), grown[:-1]])
    entered[0] = np.logaddexp(entered[0], stakes)
    return grown + np.logaddexp.accumulate(entered, axis=0)


def log_evidence_of_change(wealths: Reals, n: int) -> Reals:
    """The whole wealth after each row of `wealths`: the reserve and the mean over the bets, as natural logarithms.

    It starts at 1 and is a martingale if the p-values are independent and uniform, so it ever reaches 1 / alpha with
    probability alpha at most (Ville's inequality).

    Args:
        wealths: of `log_wealths`.
        n: p-values before the first row.

    Source: Ville, "Etude critique de la notion de collectif" (1939), for the inequality; a mean of martingales is one.
    """
    at = np.arange(n + 1, n + 1 + len(wealths))
    in_bets = np.logaddexp.reduce(wealths, axis=1) - math.log(len(BETS)) if len(wealths) else np.empty(0)
    return np.logaddexp(log_reserve(at), in_bets)
