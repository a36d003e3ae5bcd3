"""Thresholds with the false-alarm rate they hold at, as an immutable record. No torch."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from model.parts import Scored, StationRate, by_part, station_rates
from model.statistics import USELESS, best_rate, certifiable_k, needed_n, threshold_delta

Verdict = Literal["pass", "review", "reject"]
FEW_LOTS = 20  # with fewer, what differs between lots is hardly in the calibration scores


class CertificateError(Exception):
    """Scores that cannot calibrate; the message says why."""


@dataclass(frozen=True)  # without slots, for the cached property: every frame asks for it
class Certificate:
    """What was calibrated, on what, for which scorer, and what follows.

    It speaks of one artifact and one engine fingerprint only. Assumes that the calibration parts are exchangeable with
    the good parts to come, and were chosen without regard to their scores.

    Attributes:
        artifact_sha256: the model file.
        calibration_sha256: the calibration set.
        fingerprint: device kind, precision, engine and resize of the scorer.
        review_rate: good parts sent to review at most, as asked for.
        certified_review_rate: the rate that holds: `review_rate`, or the best that n certifies.
        reject_rate: good parts rejected at most: as asked for, or the review rate where that is less.
        confidence: probability, over the draw of the calibration set, that both rates hold.
        look: the how-manieth certificate on this calibration set (j of `look_delta`).
        n: number of calibration scores.
        review_k, reject_k: which largest score is the threshold; 0 for none.
        review_threshold: flagged above it; None: nothing is certified, every part is reviewed.
        reject_threshold: rejected above it; None: nothing is rejected, every flag is a review.
        scores: the calibration scores, ascending.
        unit: what one score stands for: "part" or "frame".
        lots: how many lots the parts come from; None where lots are not known.
        stations: each station's own rate, where several are pooled; the certificate then holds over their mix.
    """

    artifact_sha256: str
    calibration_sha256: str
    fingerprint: str
    review_rate: float
    certified_review_rate: float
    reject_rate: float
    confidence: float
    look: int
    n: int
    review_k: int
    review_threshold: float | None
    reject_k: int
    reject_threshold: float | None
    scores: tuple[float, ...]
    unit: str
    lots: int | None = None
    stations: tuple[StationRate, ...] = ()

    @property
    def certified(self) -> bool:
        """Whether there is a review threshold at all."""
        return self.review_threshold is not None

    @cached_property
    def spread(self) -> float:
        """Interquartile range of the calibration scores, the unit of severity; never 0."""
        low, high = np.quantile(self.scores, (0.25, 0.75))
        return max(float(high - low), 1e-9)

    def verdict(self, score: float) -> Verdict:
        """What a score means: flagged is strictly above a threshold; without thresholds everything is a review.

        Raises:
            CertificateError: the score is not finite; such a frame is `not_inspected`, never a pass.
        """
        if not math.isfinite(score):
            raise CertificateError(f"a score of {score} decides nothing")
        if self.reject_threshold is not None and score > self.reject_threshold:
            return "reject"
        if self.review_threshold is None or score > self.review_threshold:
            return "review"
        return "pass"

    def p_value(self, score: float) -> float:
        """(1 + #{calibration >= score}) / (n + 1); at most review_k / (n + 1) exactly where flagged."""
        return (1 + self.n - bisect.bisect_left(self.scores, score)) / (self.n + 1)

    def severity(self, score: float) -> float | None:
        """(score - review threshold) / interquartile range; None without a threshold."""
        return None if self.review_threshold is None else (score - self.review_threshold) / self.spread

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "scores": list(self.scores), "stations": [asdict(one) for one in self.stations]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Certificate:
        """Reads what `to_dict` wrote.

        Raises:
            CertificateError: a field is missing or unknown.
        """
        try:
            stations = tuple(StationRate(**one) for one in record.get("stations", ()))
            return cls(**{**record, "scores": tuple(record["scores"]), "stations": stations})
        except (KeyError, TypeError) as error:
            raise CertificateError(f"not a certificate of this version: {error}") from error

    def describe(self, rests_on: str = "") -> str:
        """A few lines for people: what holds, at which confidence, on how many, and what does not.

        Args:
            rests_on: which calibration set it is and what that assumes, in words; "" where nothing is known of it.
        """
        at = f"with {self.confidence:.0%} confidence, n = {self.n}, look {self.look}"
        if self.review_threshold is None:
            return f"certificate: none; {self.n} good {self.unit}s certify no useful rate, all are reviewed"
        lines = [
            f"certificate: at most {self.certified_review_rate:.2%} of good {self.unit}s are flagged, {at}; "
            f"review above {self.review_threshold:.4g} (k = {self.review_k})"
        ]
        if self.certified_review_rate > self.review_rate:
            needed = needed_n(self.review_rate, self.confidence, self.look)
            lines.append(f"  the {self.review_rate:.2%} asked for would need {needed} good {self.unit}s")
        if self.reject_threshold is None:
            needed = needed_n(self.reject_rate, self.confidence, self.look)
            lines.append(f"  reject is off: {self.reject_rate:.2%} would need {needed}; every flag is a review")
        else:
            above = f"above {self.reject_threshold:.4g} (k = {self.reject_k})"
            lines.append(f"  at most {self.reject_rate:.2%} are rejected, {above}")
        lines += self._origins()
        lines.append(f"  {rests_on or 'it assumes that the stream looks like these images'}")
        return "\n".join(lines)

    def _origins(self) -> list[str]:
        lines = []
        if self.stations:
            lines.append(f"  over the mix of {len(self.stations)} stations; each station's own rate, 95 % interval:")
            lines += [
                f"    {one.station}: {one.flagged} of {one.n} flagged, {one.low:.2%} .. {one.high:.2%}"
                for one in self.stations
            ]
        if self.lots is not None:
            few = " - few: another lot may differ more than these do" if self.lots < FEW_LOTS else ""
            lines.append(f"  from {self.lots} lots{few}")
        return lines


def certify(
    scores: Sequence[float] | Sequence[Scored],
    *,
    artifact_sha256: str,
    calibration_sha256: str,
    fingerprint: str,
    review_rate: float,
    reject_rate: float,
    confidence: float,
    look: int = 1,
    unit: str = "frame",
) -> Certificate:
    """Makes a certificate of calibration scores; two thresholds, each at half of the look's error.

    Frames that name their serials are joined to parts first (`model.parts.by_part`); `unit` says what plain numbers
    stand for.

    Where n is too small for the review rate, the best certifiable rate is used and named; where that is 50 % or more,
    there is no threshold. Where n is too small for the reject rate, reject is off. Rejected parts are flagged ones: no
    more of them are allowed than of those, and the reject threshold is never below the review threshold.

    Raises:
        CertificateError: no scores, or one that is not finite.
    """
    for name, value in (("review_rate", review_rate), ("reject_rate", reject_rate), ("confidence", confidence)):
        if not 0 < value < 1:
            raise ValueError(f"{name} {value}: a number between 0 and 1 is needed, neither of them")
    if look < 1:
        raise ValueError(f"look {look}: the first certificate on a calibration set is look 1")
    if not len(scores):
        raise CertificateError("there are no calibration scores; give good images that were not trained on")
    parts = [one if isinstance(one, Scored) else Scored(one) for one in scores]
    if any(part.serial is not None for part in parts):
        parts, unit = by_part(parts)
    bad = sum(not math.isfinite(part.score) for part in parts)
    if bad:
        raise CertificateError(f"{bad} of {len(parts)} calibration scores are not finite; the model cannot be used")
    ordered = tuple(sorted(float(part.score) for part in parts))
    lots = {part.lot for part in parts}
    n, each = len(ordered), threshold_delta(confidence, look)
    reject_rate = min(reject_rate, review_rate)
    review_k, rate = certifiable_k(n, review_rate, each), review_rate
    if review_k == 0:
        rate = best_rate(n, each)
        review_k = 1 if rate < USELESS else 0
    reject_k = certifiable_k(n, reject_rate, each) if review_k else 0
    threshold = ordered[-review_k] if review_k else None
    return Certificate(
        artifact_sha256=artifact_sha256,
        calibration_sha256=calibration_sha256,
        fingerprint=fingerprint,
        review_rate=review_rate,
        certified_review_rate=rate,
        reject_rate=reject_rate,
        confidence=confidence,
        look=look,
        n=n,
        review_k=review_k,
        review_threshold=threshold,
        reject_k=reject_k,
        reject_threshold=ordered[-reject_k] if reject_k else None,
        scores=ordered,
        unit=unit,
        lots=None if None in lots else len(lots),
        stations=station_rates(parts, threshold),
    )
