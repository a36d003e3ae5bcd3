"""A certificate in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.store.epochs import Epoch
from dashboard.tables import plain
from dashboard.words import later, opening, retold, say

FEW_LOTS = 20  # as model.certificate has it
FLAGGED = {  # by what one score stands for
    "frame": later(
        "Of {base:,} good frames at most **{most:,}** ({rate:.2%}) are flagged, with {confidence:.0%} confidence, "
        "from {n:,} frames (k = {k}, look {look})."
    ),
    "part": later(
        "Of {base:,} good parts at most **{most:,}** ({rate:.2%}) are flagged, with {confidence:.0%} confidence, "
        "from {n:,} parts (k = {k}, look {look})."
    ),
}


def words(certificate: Mapping[str, Any] | None, epoch: Epoch | None = None) -> str:
    """A certificate's record, and the epoch that it rests on, as one paragraph for people."""
    if certificate is None or certificate["review_threshold"] is None:
        return say("No certificate: every part goes to review.")
    said = [_flagged(certificate)]
    if certificate["certified_review_rate"] > certificate["review_rate"]:
        rate = certificate["review_rate"]
        said.append(say("The {rate:.2%} asked for needs more calibration images.", rate=rate))
    if certificate["reject_threshold"] is None:
        said.append(say("Reject is off: too few calibration images for its rate, so every flag is a review."))
    else:
        said.append(say("At most {rate:.2%} are rejected.", rate=certificate["reject_rate"]))
    said += _origins(certificate)
    rests_on = retold(epoch.rests_on) if epoch else say("it assumes that the stream looks like the calibration images")
    return f"{' '.join(said)} {plain(opening(rests_on))}."


def _flagged(certificate: Mapping[str, Any]) -> str:
    """The review rate as so many of a round number: of 1,000, or more where that would be less than one."""
    rate, base = certificate["certified_review_rate"], 1_000
    while 0 < rate * base < 1:
        base *= 10
    return say(
        FLAGGED[certificate["unit"]], base=base, most=math.ceil(round(rate * base, 6)), rate=rate,
        confidence=certificate["confidence"], n=certificate["n"], k=certificate["review_k"], look=certificate["look"],
    )  # fmt: skip


def _origins(certificate: Mapping[str, Any]) -> list[str]:
    """Its stations and lots, as far as they are known."""
    said, pooled, lots = [], certificate.get("stations") or (), certificate.get("lots")
    if pooled:
        own = "; ".join(say("{station} {low:.1%} to {high:.1%} (n = {n})", **one) for one in pooled)
        said.append(
            say(
                "It holds over the mix of {n} stations; each one's own rate, 95 % interval: {rates}.",
                n=len(pooled),
                rates=own,
            )
        )
    if lots is not None and lots < FEW_LOTS:
        said.append(
            say(
                "The parts come from {n} lots, fewer than {few}: another lot may differ more than these do.",
                n=lots,
                few=FEW_LOTS,
            )
        )
    elif lots is not None:
        said.append(say("The parts come from {n} lots.", n=lots))
    return said
