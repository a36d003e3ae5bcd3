"""Certificates on simulated scores: does the promised rate hold, and what breaks it?

Scores are uniform on (0, 1) or their normal scores, so the true flag rate of a threshold is known exactly and a promise
is broken where that rate is above the certified one.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from model.certificate import certify
from model.statistics import certifiable_k, look_delta
from tests.simulations.results import Share

DELTA = 0.05


def broken(n: int, review: float, reject: float, runs: int, seed: int) -> Share:
    """Certificates with two thresholds of which at least one promise is broken."""
    rng = np.random.default_rng(seed)
    return Share.of(_is_broken(rng.random(n), review, reject) for _ in range(runs))


def _is_broken(scores: np.ndarray, review: float, reject: float) -> bool:
    made = certify(
        scores.tolist(), artifact_sha256="", calibration_sha256="", fingerprint="", review_rate=review,
        reject_rate=reject, confidence=1 - DELTA,
    )  # fmt: skip
    flags = made.review_threshold is not None and 1 - made.review_threshold > made.certified_review_rate
    return flags or (made.reject_threshold is not None and 1 - made.reject_threshold > reject)


def broken_after(versions: int, looks: bool, runs: int, seed: int, n: int = 1000, rate: float = 0.05) -> Share:
    """Broken promises of the best of many equal versions, each certified on the same parts.

    The best is the one with the lowest threshold: it sees most defects, by luck. With `looks` the j-th certificate
    spends `look_delta(delta, j)`, else each spends delta.
    """
    rng = np.random.default_rng(seed)
    deltas = [look_delta(DELTA, j) if looks else DELTA for j in range(1, versions + 1)]
    ks = np.array([certifiable_k(n, rate, delta) for delta in deltas])
    assert ks.min() > 0
    chosen = []
    for _ in range(runs):
        part, own = rng.normal(size=(1, n)), rng.normal(size=(versions, n))
        scores = np.sort(np.sqrt(0.98) * part + np.sqrt(0.02) * own, axis=1)
        chosen.append(scores[np.arange(versions), n - ks].min())
    return Share.of(stats.norm.sf(chosen) > rate)
