"""What the gate says of newly approved normals, on simulated lines: how often wrongly, and which mistakes it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.retrain.gate import APPROVED_LEVEL
from model.statistics import look_delta, most_telling
from tests.simulations.results import Share

FAR = 10.0  # how much higher than good parts defects score, in deviations of these


@dataclass(frozen=True)
class Line:
    """What calibrates, and what comes before each look.

    `mislabelled` calibration parts are defects. Of `parts` good ones an operator approves those above the `k`-th
    highest calibration score, and besides approves `defects` that the line made.
    """

    calibration: int = 84
    parts: int = 300
    defects: int = 0
    mislabelled: int = 0
    k: int = 1


def asks(line: Line, runs: int, seed: int, looks: int = 1, counted: bool = True) -> Share:
    """How often the gate asks for a person, at any of so many looks at one calibration set, each at new parts.

    Without `counted` the parts that were not flagged are not taken into account.
    """
    rng = np.random.default_rng(seed)
    return Share.of(_asks(rng, line, looks, counted) for _ in range(runs))


def _asks(rng: np.random.Generator, line: Line, looks: int, counted: bool) -> bool:
    known = np.sort(rng.normal(size=line.calibration))
    cut = known[-line.k]
    known[: line.mislabelled] += FAR
    for look in range(1, looks + 1):
        good = rng.normal(size=line.parts)
        approved = np.concatenate([good[good > cut], rng.normal(FAR, 1, size=line.defects)])
        inspected = line.parts + line.defects if counted else approved.size
        chance = most_telling(known.tolist(), approved.tolist(), inspected).chance
        if chance < look_delta(APPROVED_LEVEL, look):
            return True
    return False
