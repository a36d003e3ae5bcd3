"""The drift watch of one product at one station: a conformal test martingale, as an immutable record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from model.statistics.betting import BETS, log_evidence_of_change, log_wealths
from model.statistics.order import look_delta
from model.statistics.ranks import Reals, cell_edges, cells_of, finite, p_values

CHUNK = 1 << 14  # scores at once: bounds memory, and the rounding of sums of logarithms


@dataclass(frozen=True, slots=True)
class Drift:
    """How much speaks against "the scores come from where the calibration scores came from".

    Assumes nothing of the scores' distribution. What is tested is exchangeability: neighbours that resemble each other
    (one lot after another) are drift too. Calibration scores and stream must be of one kind: one model, one engine,
    and good parts only or, of both, only those that pass; else defects in the stream are drift.

    Source: goodpart's model.md, "Drift"; conformal test martingales are those of Vovk, Nouretdinov & Gammerman, ICML
    2003, "Testing exchangeability on-line".

    Attributes:
        alpha: probability of ever raising a false alarm, all streams of one watch together.
        seed: of the lots that break ties; one a watch.
        stream: how many-eth stream of this watch, from 1: each begins with calibration scores of its own.
        edges: calibration scores that bound the cells.
        counts: scores per cell, calibration included.
        n: later scores that were counted.
        log_stakes: wealth in each bet, natural logarithms; None: nothing is staked yet.
        log_e: natural logarithm of the evidence after all n.
        alarm_at: the n at which the alarm was raised; None: not yet. No score is counted after it.
    """

    alpha: float
    seed: int
    stream: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    n: int = 0
    log_stakes: tuple[float, ...] | None = None
    log_e: float = 0.0
    alarm_at: int | None = None

    @classmethod
    def begin(cls, calibration: Sequence[float] | Reals, *, alpha: float, seed: int, stream: int = 1) -> Drift:
        """A watch that has seen the calibration scores only.

        Args:
            calibration: any order; the more, the sooner an early change is seen, since it is told by contrast.
            alpha: in (0, 1).
            seed: not negative.
            stream: from 1.

        Raises:
            ValueError: no scores, one that is not finite, or an argument outside its range.
        """
        if not 0 < alpha < 1 or seed < 0 or stream < 1:
            raise ValueError(f"alpha {alpha}, seed {seed}, stream {stream}: one is outside its range")
        edges = cell_edges(calibration)
        counts = np.bincount(cells_of(calibration, edges), minlength=2 * len(edges) + 1)
        return cls(alpha, seed, stream, edges, tuple(counts.tolist()))

    def anew(self, calibration: Sequence[float] | Reals) -> Drift:
        """The next stream of this watch: after an alarm, or where another model or epoch begins."""
        return self.begin(calibration, alpha=self.alpha, seed=self.seed, stream=self.stream + 1)

    @property
    def alarm_e(self) -> float:
        """The evidence at which this stream raises its alarm: 1 / alpha_s, alpha_s = alpha 6 / (pi^2 s^2)."""
        return 1 / look_delta(self.alpha, self.stream)

    @property
    def e(self) -> float:
        """The evidence, at most the largest finite number."""
        return math.exp(min(self.log_e, 709.0))

    def update(self, scores: Sequence[float] | Reals) -> Drift:
        """Counts scores in their order, up to the alarm; those after it belong to a next stream.

        Batches may be of any size: it is the order that matters.

        Raises:
            ValueError: a score is not finite.
        """
        values, state = finite(scores), self
        for start in range(0, values.size, CHUNK):
            if state.alarm_at is not None:
                break
            state = state._chunk(values[start : start + CHUNK])
        return state

    def _chunk(self, scores: Reals) -> Drift:
        counts, cells = np.array(self.counts), cells_of(scores, self.edges)
        wealths = log_wealths(p_values(cells, counts, self._lots(scores.size)), self.n, self._stakes())
        evidence = log_evidence_of_change(wealths, self.n)
        reached = np.flatnonzero(evidence >= math.log(self.alarm_e))
        used = int(reached[0]) + 1 if reached.size else scores.size
        return replace(
            self,
            counts=tuple((counts + np.bincount(cells[:used], minlength=counts.size)).tolist()),
            n=self.n + used,
            log_stakes=tuple(wealths[used - 1].tolist()),
            log_e=float(evidence[used - 1]),
            alarm_at=self.n + used if reached.size else None,
        )

    def _stakes(self) -> Reals:
        return np.full(len(BETS), -np.inf) if self.log_stakes is None else np.array(self.log_stakes)

    def _lots(self, size: int) -> Reals:
        """The lots of the next scores, whatever the batches: the generator is set to where they begin."""
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, self.stream])).advance(self.n)
        return 1 - np.random.Generator(bits).random(size)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Drift:
        """Reads what `to_dict` wrote, also after a way through JSON.

        Raises:
            ValueError: a field is missing or unknown, or it is of another version's bets.
        """
        try:
            lists = {name: tuple(record[name]) for name in ("edges", "counts")}
            stakes = None if record["log_stakes"] is None else tuple(record["log_stakes"])
            state = cls(**{**record, **lists, "log_stakes": stakes})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a drift watch of this version: {error}") from error
        if len(state.counts) != 2 * len(state.edges) + 1 or (stakes is not None and len(stakes) != len(BETS)):
            raise ValueError("not a drift watch of this version: its cells or bets do not fit")
        return state
