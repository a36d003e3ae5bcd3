"""A certificate in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.store.epochs import Epoch
from dashboard.tables import plain

FEW_LOTS = 20  # as model.certificate has it


def words(certificate: Mapping[str, Any] | None, epoch: Epoch | None = None) -> str:
    """A certificate's record, and the epoch that it rests on, as one paragraph for people."""
    if certificate is None or certificate["review_threshold"] is None:
        return "No certificate: every part goes to review."
    unit, n = certificate["unit"], certificate["n"]
    text = (
        f"Of {_of(certificate['certified_review_rate'], unit)} are flagged, with {certificate['confidence']:.0%} "
        f"confidence, from {n:,} {unit}s (k = {certificate['review_k']}, look {certificate['look']})."
    )
    if certificate["certified_review_rate"] > certificate["review_rate"]:
        text += f" The {certificate['review_rate']:.2%} asked for needs more calibration images."
    if certificate["reject_threshold"] is None:
        text += " Reject is off: too few calibration images for its rate, so every flag is a review."
    else:
        text += f" At most {certificate['reject_rate']:.2%} are rejected."
    text += "".join(f" {one}" for one in _origins(certificate))
    rests_on = epoch.rests_on if epoch else "it assumes that the stream looks like the calibration images"
    return f"{text} {plain(rests_on[0].upper() + rests_on[1:])}."


def _of(rate: float, unit: str) -> str:
    """A rate as so many of a round number: of 1,000, or more where that would be less than one."""
    base = 1_000
    while 0 < rate * base < 1:
        base *= 10
    return f"{base:,} good {unit}s at most **{math.ceil(round(rate * base, 6)):,}** ({rate:.2%})"


def _origins(certificate: Mapping[str, Any]) -> list[str]:
    """Its stations and lots, as far as they are known."""
    said, pooled, lots = [], certificate.get("stations") or (), certificate.get("lots")
    if pooled:
        own = "; ".join(f"{one['station']} {one['low']:.1%} to {one['high']:.1%} (n = {one['n']})" for one in pooled)
        said.append(f"It holds over the mix of {len(pooled)} stations; each one's own rate, 95 % interval: {own}.")
    if lots is not None:
        few = f", fewer than {FEW_LOTS}: another lot may differ more than these do" if lots < FEW_LOTS else ""
        said.append(f"The parts come from {lots} lots{few}.")
    return said
