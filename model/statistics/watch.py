"""Bets against a rate, in the order of inspection: what the watch after a promotion goes by. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

ROLLBACK = 20.0  # a rate that holds is accused with probability 1 / ROLLBACK at most, however long one watches
EVEN = 0.5  # the rate to bet against for misses: each of two models is as likely to be the one that saw the defect
STAKES = 8
CAP = 10  # times the parts that a watch needs: it waits no longer for defects


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a sequence of outcomes says against a rate.

    Attributes:
        rate: the hypothesised rate, in (0, 1).
        n, ones: outcomes, and how many of them are 1.
        log_e: natural logarithm of E after all n; 0 where n is 0.
        reached_at: after how many outcomes E first reached the threshold; None: it never did.
    """

    rate: float
    n: int
    ones: int
    log_e: float
    reached_at: int | None

    @property
    def e(self) -> float:
        """E, at most the largest finite number."""
        return math.exp(min(self.log_e, 709.0))


def evidence_against(
    rate: float, outcomes: Sequence[bool] | NDArray[np.bool_], threshold: float = ROLLBACK
) -> Evidence:
    """Tests "each outcome is 1 with probability `rate` at most, whatever came before" at all times at once.

    E_t is the mean over 8 stakes l of prod over i <= t of (1 + l (X_i - rate)). Under the hypothesis it is a
    nonnegative supermartingale from 1, so it ever reaches the threshold with probability 1 / threshold at most
    (Ville's inequality). Of false alarms, X = 1 where the new model flagged a part and it was reviewed normal; of
    misses, X = 1 where of two models the old one alone flagged a confirmed defect, against the rate `EVEN`.

    The whole sequence is read anew each time because reviews arrive late. An outcome that is not known yet counts as
    0: that makes every E_t smaller, so an early look may miss and never accuses more.

    Args:
        rate: in (0, 1).
        outcomes: in the order of inspection, drawn without regard to their scores.
        threshold: above 1.

    Raises:
        ValueError: the rate or the threshold is outside its range.

    Source: Waudby-Smith & Ramdas, JRSS B 86 (2024); for a deployed model Podkopaev & Ramdas, ICLR 2022.
    """
    if threshold <= 1:
        raise ValueError(f"a threshold of {threshold}: E starts at 1, so it must be above")
    seen = np.asarray(outcomes, dtype=bool)
    at = np.flatnonzero(seen) + 1  # E only rises at a one, so it first reaches the threshold there
    rising = log_evidence(np.arange(1, at.size + 1), at, rate)
    reached = at[rising >= math.log(threshold)]
    last = float(log_evidence(at.size, seen.size, rate))
    return Evidence(rate, seen.size, at.size, last, int(reached[0]) if reached.size else None)


def log_evidence(ones: ArrayLike, n: ArrayLike, rate: float) -> NDArray[np.float64]:
    """The natural logarithm of E after `n` outcomes of which `ones` are 1: their order does not matter for it.

    Stakes run from 0.25 to 0.5 / rate, so every factor is at least 1 - l rate >= 0.5 and no logarithm fails. What it
    assumes of the outcomes is said at `evidence_against`.

    Source: Waudby-Smith & Ramdas, JRSS B 2024, "Estimating means of bounded random variables by betting".

    Args:
        ones: 0 .. n, each.
        n: any shape that goes with `ones`.
        rate: in (0, 1).

    Raises:
        ValueError: the rate is outside its range.
    """
    if not 0 < rate < 1:
        raise ValueError(f"a rate of {rate}: between 0 and 1 is allowed")
    stakes = np.geomspace(0.25, 0.5 / rate, STAKES)
    hits, count = np.asarray(ones)[..., None], np.asarray(n)[..., None]
    logs = hits * np.log1p(stakes * (1 - rate)) + (count - hits) * np.log1p(-stakes * rate)
    return np.asarray(special.logsumexp(logs, axis=-1) - math.log(STAKES))


def enough_at(defects: Sequence[bool] | NDArray[np.bool_], parts: int, wanted: int) -> int | None:
    """After how many parts a watch has seen enough to end without an accusation; None: not yet.

    Parts alone say little of misses: at a threshold of 20 a model that sees no defect at all is accused at the 11th
    that the other one alone flagged. So it takes `parts` parts and `wanted` defects, at the latest `CAP` times
    `parts`. It may look at the outcomes so, since `evidence_against` holds at all times at once: where one stops
    decides what can be told, not how often one is accused wrongly.

    Args:
        defects: of each part, in the order of inspection, whether it is a confirmed defect that either model flagged.
        parts: at least 1.
        wanted: defects; with 0, `parts` parts are enough.

    Source: Ramdas, Gruenwald, Vovk & Shafer, Statistical Science 38 (2023), for stopping at any time; 20: docs/gate.md.
    """
    cap = CAP * parts
    after = [0, *np.flatnonzero(np.asarray(defects[:cap], dtype=bool)) + 1]  # so many parts the k-th defect came
    end = max(parts, int(after[wanted])) if wanted < len(after) else cap
    return end if len(defects) >= end else None
