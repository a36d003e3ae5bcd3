"""The watch after a promotion, on simulated lines: how often it accuses wrongly, and how soon rightly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.settings import Watch
from model.statistics import CAP, EVEN, enough_at, evidence_against
from tests.simulations.results import Delay, Share

MOST = CAP * Watch().parts  # a watch sees no more


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


def called_blind(line: Line, runs: int, seed: int, wanted: int | None = None) -> Delay:
    """After how many parts the new model is said to miss what the old one sees.

    Where defects are `wanted`, the watch ends as the product's does: by its parts, these defects and its cap.
    """
    rng, delays = np.random.default_rng(seed), []
    for _ in range(runs):
        defect, old, new = line.draw(rng)
        end = None if wanted is None else enough_at(defect & (old | new), Watch().parts, wanted)
        delays.append(_missed_at((defect & (old != new))[:end], old[:end]))
    return Delay.of(delays)


def accused_at_all(line: Line, rate: float, runs: int, seed: int) -> Share:
    """How often either test accuses the new model."""
    rng, hits = np.random.default_rng(seed), []
    for _ in range(runs):
        defect, old, new = line.draw(rng)
        false_alarms = evidence_against(rate, new & ~defect).reached_at
        hits.append(false_alarms is not None or _missed_at(defect & (old != new), old) is not None)
    return Share.of(hits)


def _missed_at(of_one: np.ndarray, old: np.ndarray) -> int | None:
    places = np.flatnonzero(of_one)
    at = evidence_against(EVEN, old[places]).reached_at
    return None if at is None else int(places[at - 1]) + 1
