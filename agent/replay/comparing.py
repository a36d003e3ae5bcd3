"""What became of a frame then and now, and how far the two agree. No I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from agent.pipeline.work import NOT_INSPECTED, Outcome
from agent.store.inspections import Inspection

# What decided these lay outside frame and model: it may have come, or gone, since.
ELSEWHERE = frozenset({"no_model", "claim_missing", "claim_corrupt"})


class Agreement(enum.StrEnum):
    """How a decision made again compares with the recorded one."""

    IDENTICAL = "identical"  # the same verdict and, bit for bit, the same score; or not inspected for the same reason
    WITHIN_TOLERANCE = "within_tolerance"  # the same verdict, and scores that differ by no more than the tolerance
    SAME_VERDICT = "same_verdict"  # from another deployment, whose scores are on a scale of their own
    DIFFERENT = "different"
    GONE = "gone"  # neither the log nor the blob store has the frame any more
    NOT_COMPARABLE = "not_comparable"  # the frame or its model cannot be had as they were then


@dataclass(frozen=True, slots=True)
class Replayed:
    """One recorded decision, and what is said of its frame now.

    Attributes:
        before: as recorded.
        agreement: of the two.
        source: "log" or "kept": where the frame came from; None where it is gone.
        now: what became of it this time; None where nothing could.
        tolerance: of the score; None where scores are not compared.
        detail: why, in words; "" where there is nothing to say.
        engine: the fingerprint of what scored; None where nothing could.
    """

    before: Inspection
    agreement: Agreement
    source: str | None = None
    now: Outcome | None = None
    tolerance: float | None = None
    detail: str = ""
    engine: str | None = None

    @property
    def compared(self) -> bool:
        """Whether the decision was made again, and holds against the recorded one or does not."""
        return self.now is not None and self.agreement not in (Agreement.GONE, Agreement.NOT_COMPARABLE)

    @property
    def difference(self) -> float | None:
        """The score now less the recorded one; None where one of them is missing."""
        if self.now is None or self.now.score is None or self.before.score is None:
            return None
        return self.now.score - self.before.score

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, with ids as the database has them."""
        before, now = self.before, self.now
        return {
            "event_at": before.event_at.isoformat(),
            "stream_id": before.stream_id,
            "partition": before.partition,
            "offset": before.offset,
            "frame_id": before.frame_id,
            "station_id": before.station_id,
            "product_id": before.product_id,
            "agreement": str(self.agreement),
            "source": self.source,
            "before": _said(before),
            "now": _said(now) if now else None,
            "difference": self.difference,
            "tolerance": self.tolerance,
            "detail": self.detail,
        }


def compare(before: Inspection, now: Outcome, tolerance: float | None) -> Agreement:
    """How far two outcomes of one frame agree.

    Args:
        before: as recorded.
        now: made again.
        tolerance: how far the scores may be apart, at least 0; None: they are on different scales.
    """
    if NOT_INSPECTED in (before.verdict, now.verdict):
        if (before.verdict, before.reason) == (now.verdict, now.reason):
            return Agreement.IDENTICAL
        elsewhere = before.reason in ELSEWHERE or now.reason in ELSEWHERE
        return Agreement.NOT_COMPARABLE if elsewhere else Agreement.DIFFERENT
    if before.verdict != now.verdict:
        return Agreement.DIFFERENT
    if before.score == now.score:
        return Agreement.IDENTICAL
    if tolerance is None:
        return Agreement.SAME_VERDICT
    if before.score is None or now.score is None or abs(now.score - before.score) > tolerance:
        return Agreement.DIFFERENT
    return Agreement.WITHIN_TOLERANCE


def _said(one: Inspection | Outcome) -> dict[str, Any]:
    return {
        "verdict": one.verdict,
        "reason": one.reason,
        "score": one.score,
        "deployment_id": one.deployment_id,
    }
