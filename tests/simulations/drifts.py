"""The drift watch on simulated scores: false alarms over long streams, and how soon a change is caught."""

from __future__ import annotations

import math

import numpy as np

from model.statistics import Drift, look_delta
from model.statistics.betting import BETS, log_evidence_of_change, log_wealths
from tests.simulations.results import Delay, Share

BATCH = 50_000
SPREAD = 1.349  # interquartile range of Normal(0, 1)


def false_alarms(n: int, parts: int, alpha: float, runs: int, seed: int) -> Share:
    """Streams that never change and raise an alarm within so many parts."""
    rng, alarms = np.random.default_rng([seed, n]), []
    for run in range(runs):
        state = Drift.begin(rng.normal(size=n), alpha=alpha, seed=run)
        while state.n < parts and state.alarm_at is None:
            state = state.update(rng.normal(size=min(BATCH, parts - state.n)))
        alarms.append(state.alarm_at)
    return Share.of(alarms)


def false_alarms_of_fixed_ranks(n: int, parts: int, alpha: float, runs: int, seed: int) -> Share:
    """The same, had each score been ranked among the calibration scores only."""
    rng = np.random.default_rng([seed, n])
    return Share.of(_fixed_ranks_alarm(rng, n, parts, alpha) for _ in range(runs))


def _fixed_ranks_alarm(rng: np.random.Generator, n: int, parts: int, alpha: float) -> bool:
    calibration, stakes = np.sort(rng.normal(size=n)), np.full(len(BETS), -math.inf)
    for start in range(0, parts, BATCH):
        scores = rng.normal(size=min(BATCH, parts - start))
        higher = n - np.searchsorted(calibration, scores)
        wealths = log_wealths((higher + 1 - rng.random(scores.size)) / (n + 1), start, stakes)
        if log_evidence_of_change(wealths, start).max() >= -math.log(look_delta(alpha, 1)):
            return True
        stakes = wealths[-1]
    return False


def caught(n: int, before: int, runs: int, seed: int, shift: float = SPREAD / 2, parts: int = 5000) -> Delay:
    """After how many parts a shift is caught that comes after so many; a false alarm before it counts as missed."""
    rng, delays = np.random.default_rng([seed, n]), []
    for run in range(runs):
        state = Drift.begin(rng.normal(size=n), alpha=0.01, seed=run).update(rng.normal(size=before))
        early = state.alarm_at is not None
        at = state.update(rng.normal(shift, 1, size=parts)).alarm_at
        delays.append(None if early or at is None else at - before)
    return Delay.of(delays)


def alarms_by_defects(n: int, share: float, parts: int, runs: int, seed: int) -> Share:
    """Alarms where the stream holds a constant share of defects and the calibration scores are of good parts."""
    rng, alarms = np.random.default_rng([seed, n]), []
    for run in range(runs):
        scores = rng.normal(size=parts) + 4 * (rng.random(parts) < share)
        alarms.append(Drift.begin(rng.normal(size=n), alpha=0.01, seed=run).update(scores).alarm_at)
    return Share.of(alarms)
