"""From scores of frames to scores of parts: the unit of a certificate is a good part at a station. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from model.statistics import clopper_pearson


@dataclass(frozen=True, slots=True)
class Scored:
    """One good frame, or one good part: its score and where it comes from, as far as that is known."""

    score: float
    serial: str | None = None
    station: str | None = None
    lot: str | None = None


@dataclass(frozen=True, slots=True)
class StationRate:
    """What one station's calibration parts say of the common threshold.

    Attributes:
        station: its name.
        n, flagged: parts, and those above the review threshold.
        low, high: Clopper-Pearson interval of the station's own flag rate, 95 %.
    """

    station: str
    n: int
    flagged: int
    low: float
    high: float


def by_part(frames: Sequence[Scored]) -> tuple[list[Scored], str]:
    """The frames of one serial at one station as one part with their largest score, in order of first appearance.

    P(any frame of a good part is flagged) is then what a certificate bounds. Assumes that parts, not frames, are
    exchangeable.

    Returns:
        The parts, and their unit: "part"; or the frames themselves and "frame" where a frame has no serial.
    """
    if any(frame.serial is None for frame in frames):
        return list(frames), "frame"
    parts: dict[tuple[str | None, str | None], Scored] = {}
    for frame in frames:
        key = (frame.station, frame.serial)
        known = parts.get(key)
        # A score that is not a number must stay: `max` would drop it.
        if known is None or frame.score > known.score or math.isnan(frame.score):
            parts[key] = frame
    return list(parts.values()), "part"


def station_rates(parts: Sequence[Scored], threshold: float | None) -> tuple[StationRate, ...]:
    """Each station's own flag rate under a threshold that was made of all together; empty for one station or none.

    Descriptive: the parts also made the threshold, so an interval is no certificate of its station.
    """
    names = sorted({part.station for part in parts if part.station is not None})
    if threshold is None or len(names) < 2:
        return ()
    rates = []
    for name in names:
        scores = [part.score for part in parts if part.station == name]
        flagged = sum(score > threshold for score in scores)
        rates.append(StationRate(name, len(scores), flagged, *clopper_pearson(flagged, len(scores))))
    return tuple(rates)
