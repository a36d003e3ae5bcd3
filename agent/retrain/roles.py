"""Which role an imported good image gets, and how many images a certificate needs. Pure functions.

Source: goodpart's model.md, "Roles and the audit sample"; counts of order statistics from `model.statistics`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from agent.retrain.errors import TooFewImages
from model.statistics import USELESS, best_rate, keyed_fraction, needed_n, threshold_delta

LARGE = 500  # images from which a hold-out is set aside
LEAST_TRAIN = 5  # four to learn from and one validation normal


@dataclass(frozen=True, slots=True)
class Shares:
    """How parts are divided; train takes the rest."""

    calibration: float
    holdout: float


def shares(parts: int) -> Shares:
    """60/40/0, or 60/25/15 from 500 parts."""
    return Shares(0.25, 0.15) if parts >= LARGE else Shares(0.40, 0.0)


def assign(secret: bytes, keys: Collection[str], held: Mapping[str, int], first: Mapping[str, str]) -> dict[str, str]:
    """The role of each part: the one it already has, else drawn by its keyed hash.

    The new parts are ranked by the hash and cut so that the shares hold over all imported parts, those before included:
    exactly, because the few that chance would take from calibration may be those that the certificate lacks.

    Args:
        secret: of the install, so that nobody outside can choose a role.
        keys: of the parts: their serial, or the hash of their pixels where they have none.
        held: how many parts of each role were imported before.
        first: roles that parts already have. A part's first role sticks.
    """
    known = {key: first[key] for key in keys if key in first}
    new = sorted(set(keys) - known.keys(), key=lambda key: (keyed_fraction(secret, "role", key), key))
    total = Counter(held) + Counter(known.values())
    parts = len(new) + total.total()
    wanted = shares(parts)
    calibration = min(len(new), max(0, round(parts * wanted.calibration) - total["calibration"]))
    holdout = min(len(new) - calibration, max(0, round(parts * wanted.holdout) - total["holdout"]))
    drawn = ["calibration"] * calibration + ["holdout"] * holdout
    return known | dict(zip_longest(new, drawn, fillvalue="train"))


@dataclass(frozen=True, slots=True)
class Needs:
    """What a product's certificate of that look needs, in calibration images."""

    least: int  # for any certificate with a rate below one half
    asked: int  # for the review rate asked for
    review_rate: float
    confidence: float
    look: int = 1

    def good_parts(self, calibration: int) -> int:
        """Good parts of which `calibration` come to calibrate."""
        share = shares(math.ceil(calibration / 0.40)).calibration
        return math.ceil(round(calibration / share, 6))


def needs(review_rate: float, confidence: float, look: int = 1) -> Needs:
    """Counts for two thresholds, each at half of the error of that look at a calibration set."""
    delta = threshold_delta(confidence, look)
    least = next(n for n in range(1, 10_000) if best_rate(n, delta) < USELESS)
    return Needs(least, needed_n(review_rate, confidence, look), review_rate, confidence, look)


def check_enough(train: int, calibration: int, wanted: Needs, *, advice: str = "add good images") -> str | None:
    """Refuses what cannot be certified at all; warns where the review rate asked for cannot be.

    Too few images for the configured rate is a warning, because the certificate then states the best rate that they do
    support; it is an error only where not even a rate below one half could be certified, or nothing could be trained.
    The error ends in `advice`: what a person does about it.

    Returns:
        The warning, or None where there are enough.

    Raises:
        TooFewImages: says how many are needed.
    """
    rate, confidence = f"{wanted.review_rate:.3g}", f"{wanted.confidence:.3g}"
    if calibration < wanted.least or train < LEAST_TRAIN:
        few = max(wanted.good_parts(wanted.least), math.ceil(LEAST_TRAIN / 0.6))
        raise TooFewImages(
            "{train} good images to train and {calibration} to calibrate are too few: at least {least_train} and "
            "{least} are needed (about {few} good images in all), and {asked} to calibrate (about {many} in all) for a "
            "review rate of {rate} at confidence {confidence}; {advice}",
            train=train, calibration=calibration, least_train=LEAST_TRAIN, least=wanted.least, few=few,
            asked=wanted.asked, many=wanted.good_parts(wanted.asked), rate=rate, confidence=confidence, advice=advice,
        )  # fmt: skip
    if calibration >= wanted.asked:
        return None
    best = best_rate(calibration, threshold_delta(wanted.confidence, wanted.look))
    return (
        f"{calibration} calibration images certify a review rate of {best:.3g} at best; {rate} at confidence "
        f"{confidence} needs {wanted.asked} (about {wanted.good_parts(wanted.asked)} good images in all)"
    )
