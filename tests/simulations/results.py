"""What a simulation says: a share of runs beside its bound, or how long something took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

SLACK = 4.0  # standard errors


@dataclass(frozen=True)
class Share:
    """So many of so many independent runs."""

    hits: int
    runs: int

    @classmethod
    def of(cls, outcomes: Iterable[object]) -> Share:
        seen = [bool(one) for one in outcomes]
        return cls(sum(seen), len(seen))

    @property
    def share(self) -> float:
        return self.hits / self.runs

    def at_most(self, bound: float) -> bool:
        """Whether the share is no more above the bound than chance explains."""
        return self.share <= bound + SLACK * math.sqrt(bound * (1 - bound) / self.runs)

    def above(self, bound: float) -> bool:
        """Whether chance does not explain a share so far above the bound."""
        return not self.at_most(bound)

    def __str__(self) -> str:
        return f"{self.share:.2%} ({self.hits} of {self.runs})"


@dataclass(frozen=True)
class Delay:
    """After how many parts each run caught something, ascending; runs that never did are missing."""

    parts: tuple[int, ...]
    runs: int

    @classmethod
    def of(cls, delays: Iterable[int | None]) -> Delay:
        seen = list(delays)
        return cls(tuple(sorted(one for one in seen if one is not None)), len(seen))

    @property
    def caught(self) -> Share:
        """Runs that ever did."""
        return Share(len(self.parts), self.runs)

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    def quantile(self, share: float) -> float:
        """Over all runs; infinite where fewer were caught."""
        late = (math.inf,) * (self.runs - len(self.parts))
        return float(np.quantile((*self.parts, *late), share, method="higher"))

    def __str__(self) -> str:
        if math.isinf(self.median):
            return str(self.caught)
        return f"median {self.median:.0f}, 9 in 10 by {self.quantile(0.9):.0f}; {self.caught} caught"
