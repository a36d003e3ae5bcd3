"""What parts of the agent say when something is wrong, and when it is over."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["warning", "error"]

# kind: what it means to whoever reads it. Events stay open until a person acknowledges them; conditions end by
# themselves.
EVENTS = {
    "breaker": "the scoring engine failed on every product; the agent ended without losing a frame",
    "data_gap": "the log lost frames before they were read",
    "sequence_gap": "a camera's sequence numbers jumped: frames were lost before the broker",
}
CONDITIONS = {
    "station_blind": "a station's frames cannot be inspected",
    "station_silent": "a station sends no frames",
    "camera_frozen": "a station's camera sends the same picture again and again",
    "camera_black": "a station's pictures are black",
    "camera_saturated": "a station's pictures are overexposed against its own history",
    "camera_defocused": "a station's pictures are blurred against its own history",
    "partition_stalled": "frames are in flight and none is recorded",
    "flag_rate": "more parts are flagged than the certificate allows of good ones: drift, or more defects",
    "disk": "the disk of the blobs or of the database is nearly full, or evidence that must be kept exceeds its limit",
}
KINDS = EVENTS | CONDITIONS


class Alarms(Protocol):
    """Takes alarms without waiting for anything; safe to call from every thread."""

    def raised(self, kind: str, subject: str, words: str, *, level: Level = "warning", **detail: object) -> None:
        """Something is wrong. Saying it again while it is open counts, and tells nobody anew.

        Args:
            kind: one of KINDS.
            subject: whose, such as `station:S1`, `partition:goodpart.frames/3`, `agent:NAME`, `product:P`.
            words: one line for a person: what is wrong and what to do.
            level: how bad.
            detail: numbers behind it, JSON values.
        """
        ...

    def cleared(self, kind: str, subject: str) -> None:
        """It is over; nothing happens where it was not open."""
        ...


class NoAlarms:
    """Tells nobody."""

    def raised(self, kind: str, subject: str, words: str, *, level: Level = "warning", **detail: object) -> None:
        pass

    def cleared(self, kind: str, subject: str) -> None:
        pass
