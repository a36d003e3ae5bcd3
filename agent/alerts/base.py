"""What parts of the agent say when something is wrong, and when it is over."""

from __future__ import annotations

from typing import Literal, Protocol

Level = Literal["warning", "error"]

# What each means stands in docs/stream.md. Events stay open until a person acknowledges them; conditions end by
# themselves.
EVENTS = frozenset({"breaker", "data_gap", "sequence_gap"})
CONDITIONS = frozenset(
    {
        "station_blind", "station_silent", "camera_frozen", "camera_black", "camera_saturated", "camera_defocused",
        "partition_stalled", "flag_rate", "drift", "no_trusted_model", "excess_flags", "disk", "disk_fills",
        "audit_waits", "certificate_lapsed",
    }
)  # fmt: skip
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
