"""Rates from the audit sample: what escapes, what is missed, what is flagged in vain. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from model.statistics.intervals import clopper_pearson

JUDGED = 0.95  # a window counts once this share of it is judged


@dataclass(frozen=True, slots=True)
class Judged:
    """Audited parts of one kind of verdict, by what people said of them.

    Attributes:
        normal, defect: decided so.
        open: not decided: `unsure`, or not judged yet.
    """

    normal: int = 0
    defect: int = 0
    open: int = 0

    @property
    def n(self) -> int:
        """All of them."""
        return self.normal + self.defect + self.open


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of audited parts with its interval.

    Assumes what `AuditSample` does. Source: that of `clopper_pearson`, of whose intervals the bounds are.

    Attributes:
        hits, n: so many of so many decided parts.
        open: parts that are not decided; they enter the bounds as the worse case.
        low, high: bounds, each in [0, 1].
        confidence: that of the interval, were every part decided.
        of: what the n are, for people.
    """

    hits: int
    n: int
    open: int
    low: float
    high: float
    confidence: float
    of: str

    @property
    def estimate(self) -> float | None:
        """Share of the decided ones, in [low, high]; None where nothing is decided."""
        return self.hits / self.n if self.n else None

    def __str__(self) -> str:
        """For people: the share, its interval and the counts behind it."""
        if not self.n and not self.open:
            return f"no {self.of} yet"
        left = f", {self.open} undecided" if self.open else ""
        share = "unknown" if self.estimate is None else f"{self.estimate:.2%}"
        interval = f"{self.low:.2%} .. {self.high:.2%} with {self.confidence:.0%} confidence"
        return f"{share} ({interval}; {self.hits} of {self.n} {self.of}{left})"


@dataclass(frozen=True, slots=True)
class AuditSample:
    """Counts of a window of audited parts, drawn before scoring and reviewed whatever their verdict.

    Every rate assumes that parts were drawn independently of their scores, all at one audit rate, that they are alike
    (independent, with one common rate) and that people judge rightly. Undecided parts enter each bound as the worse
    case, so an interval covers whatever they turn out to be.

    Attributes:
        passes: parts that the model passed.
        flagged: parts that it sent to review or rejected.
        confidence: of each interval, in (0, 1).

    Source: goodpart's model.md, "Roles and the audit sample", for the escape and the miss rate.
    """

    passes: Judged = Judged()
    flagged: Judged = Judged()
    confidence: float = 0.95

    @property
    def n(self) -> int:
        """All audited parts."""
        return self.passes.n + self.flagged.n

    @property
    def suffices(self) -> bool:
        """Whether enough is judged for the window to count: 95 % of what was drawn."""
        return self.n > 0 and self.n - self.passes.open - self.flagged.open >= JUDGED * self.n

    @property
    def escape_rate(self) -> Rate:
        """Defects among passed parts: escapes / audited passes."""
        return self._share(self.passes.defect, self.passes.normal, self.passes.open, "audited passes")

    @property
    def miss_rate(self) -> Rate:
        """Passed parts among defects: escapes / (escapes + audited flagged defects)."""
        flagged = self.flagged
        return self._share(self.passes.defect, flagged.defect, self.passes.open, "audited defects", flagged.open)

    @property
    def false_alarm_rate(self) -> Rate:
        """Flagged parts among good ones: false alarms / (false alarms + audited good passes)."""
        passes = self.passes
        return self._share(self.flagged.normal, passes.normal, self.flagged.open, "audited good parts", passes.open)

    def _share(self, hits: int, others: int, undecided: int, of: str, others_undecided: int | None = None) -> Rate:
        """Of hits / (hits + others), where an undecided part is, for each bound, whichever is worse.

        Without `others_undecided` one undecided part is a hit or one of the others; else `undecided` are hits or
        neither, and `others_undecided` others or neither.
        """
        apart = undecided if others_undecided is None else others_undecided
        low, _ = clopper_pearson(hits, hits + others + apart, self.confidence)
        _, high = clopper_pearson(hits + undecided, hits + undecided + others, self.confidence)
        return Rate(hits, hits + others, undecided + (others_undecided or 0), low, high, self.confidence, of)
