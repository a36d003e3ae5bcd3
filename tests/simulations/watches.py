"""The watch after a promotion, on simulated lines: how often it accuses wrongly, and how soon rightly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.statistics import EVEN, evidence_against
from tests.simulations.results import Delay


@dataclass(frozen=True)
class Line:
    """Parts of a watch sample: how many are defects before and after half of them, and what two models flag."""

    parts: int
    defects: float = 0.01
    defects_later: float = 0.01
    old_sees: float = 0.9
    new_sees: float = 0.9
    new_false_alarms: float = 0.05

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether each part is a defect, and is flagged by the old and by the new model."""
        rate = np.where(np.arange(self.parts) < self.parts // 2, self.defects, self.defects_later)
        defect = rng.random(self.parts) < rate
        old = rng.random(self.parts) < np.where(defect, self.old_sees, 0.05)
        new = rng.random(self.parts) < np.where(defect, self.new_sees, self.new_false_alarms)
        return defect, old, new


def accused(line: Line, rate: float, runs: int, seed: int, reviewed: bool = True) -> Delay:
    """After how many parts the new model's false alarms are said to be above `rate`.

    Without reviews every flag counts as a false alarm.
    """
    rng, delays = np.random.default_rng(seed), []
    for _ in range(runs):
        defect, _, new = line.draw(rng)
        delays.append(evidence_against(rate, new & ~defect if reviewed else new).reached_at)
    return Delay.of(delays)


def called_blind(line: Line, runs: int, seed: int) -> Delay:
    """After how many parts the new model is said to miss what the old one sees."""
    rng, delays = np.random.default_rng(seed), []
    for _ in range(runs):
        defect, old, new = line.draw(rng)
        one = np.flatnonzero(defect & (old != new))
        at = evidence_against(EVEN, old[one]).reached_at
        delays.append(None if at is None else int(one[at - 1]) + 1)
    return Delay.of(delays)
