"""What may calibrate and what the audit sample says, on simulated lines.

Good parts score uniformly on (0, 1), so 1 - threshold is the true flag rate. Where defects play no part, they are left
out: reviewers tell them apart in every arm alike. That the agent admits what `kept` and `decided` say is a test of the
admission (tests/unit/test_admission.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.statistics import AuditSample, Judged, certifiable_k
from tests.simulations.results import Share

DELTA = 0.05


def threshold(scores: np.ndarray, rate: float) -> float:
    """One threshold at confidence 1 - DELTA."""
    k = certifiable_k(scores.size, rate, DELTA)
    assert k > 0
    return float(np.sort(scores)[-k])


def kept(scores: np.ndarray, passed: np.ndarray, audited: bool) -> np.ndarray:
    """Which drawn good parts calibrate: all of an audit sample, or only those that passed."""
    return scores if audited else scores[passed]


def decided(scores: np.ndarray, unsure: np.ndarray, second_person: bool) -> np.ndarray:
    """Which do where people are `unsure`: a second person decides, and good parts are kept, or they are dropped."""
    return scores if second_person else scores[~unsure]


def broken_by_passes(audited: bool, runs: int, seed: int, n: int = 500, rate: float = 0.05) -> Share:
    """Second certificates that break their promise: made of confirmed passes alone, or of an audit sample."""
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(runs):
        first, stream = threshold(rng.random(n), rate), rng.random(3 * n)
        rates.append(1 - threshold(kept(stream, stream <= first, audited)[:n], rate))
    return Share.of(one > rate for one in rates)


def broken_by_doubt(second_person: bool, runs: int, seed: int, n: int = 400, rate: float = 0.01) -> Share:
    """Certificates that break their promise where people doubt half of the good parts that look worst."""
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(runs):
        scores = rng.random(n)
        unsure = (scores > 1 - rate) & (rng.random(n) < 0.5)
        rates.append(1 - threshold(decided(scores, unsure, second_person), rate))
    return Share.of(one > rate for one in rates)


@dataclass(frozen=True)
class Line:
    """A line whose rates are known."""

    defects: float = 0.05
    flagged_defects: float = 0.8
    flagged_good: float = 0.05

    def true(self, rate: str) -> float:
        if rate == "miss_rate":
            return 1 - self.flagged_defects
        escapes, passes = self.defects * (1 - self.flagged_defects), (1 - self.defects) * (1 - self.flagged_good)
        return self.flagged_good if rate == "false_alarm_rate" else escapes / (escapes + passes)


def uncovered(rate: str, counted: bool, runs: int, seed: int, parts: int = 600, undecided: float = 0.04) -> Share:
    """Audit samples whose interval leaves out the true rate.

    The share `undecided` of the parts are defects as far as there are so many, for those are hard to tell. With
    `counted` they enter the bounds as the worse case, else they are dropped.
    """
    line, rng, outcomes = Line(), np.random.default_rng(seed), []
    for _ in range(runs):
        defect = rng.random(parts) < line.defects
        flagged = rng.random(parts) < np.where(defect, line.flagged_defects, line.flagged_good)
        left = np.zeros(parts, bool)
        left[np.argsort(rng.random(parts) - defect)[: int(undecided * parts)]] = True
        sample = AuditSample(_judged(defect, left, ~flagged, counted), _judged(defect, left, flagged, counted))
        seen = getattr(sample, rate)
        outcomes.append(not seen.low <= line.true(rate) <= seen.high)
    return Share.of(outcomes)


def _judged(defect: np.ndarray, left: np.ndarray, chosen: np.ndarray, counted: bool) -> Judged:
    decided = chosen & ~left
    normal, bad = int((decided & ~defect).sum()), int((decided & defect).sum())
    return Judged(normal, bad, int((chosen & left).sum()) if counted else 0)
