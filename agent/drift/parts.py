"""Frames to parts: what a certificate speaks of is a part, its score the highest of its frames. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.store.drift import Frame

TOGETHER = timedelta(seconds=10)  # from one frame of a part at a station to its next, at most


@dataclass(frozen=True, slots=True)
class Part:
    """A part at a station, by its last frame so far."""

    at: datetime
    score: float


def joined(open: Mapping[str, Part], frames: Iterable[Frame], unit: str) -> tuple[list[Part], dict[str, Part]]:
    """The parts that are whole after these frames, and those, by serial, of which more may come.

    However frames are divided between calls, the parts are the same. A part is whole once a frame came that is more
    than TOGETHER later than its last one; the same serial after that is another part (one that was worked on again).
    Frames without a serial are parts of their own, and so are all where the certificate's unit is the frame.

    Args:
        open: parts of which more may come, by the time of their last frame.
        frames: the station's next ones with a score, by event time.
        unit: the certificate's.
    """
    whole, rest = [], dict(open)
    for frame in frames:
        at, score = frame.position.event_at, frame.score
        if score is None:
            continue
        while rest and at - next(iter(rest.values())).at > TOGETHER:
            whole.append(rest.pop(next(iter(rest))))
        if unit == "frame" or not frame.serial:
            whole.append(Part(at, score))
            continue
        before = rest.pop(frame.serial, None)  # it goes to the end: they stay in order of their last frame
        rest[frame.serial] = Part(at, max(score, before.score) if before else score)
    return whole, rest
