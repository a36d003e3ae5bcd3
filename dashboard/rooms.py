"""How much is stored, how fast that grows, and for how long there is room, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent.store.storage import BLOBS, DATABASE, EVIDENCE, LEAST, Stored

NAMES = {BLOBS: "Pictures and models", DATABASE: "Database", EVIDENCE: "Evidence under retention.evidence_gb"}
LONG = 730  # days: beyond it a rate of today says nothing
RATE = "at today's rate"


def rows(found: Sequence[Stored]) -> list[dict[str, object]]:
    """A row each of what is stored."""
    return [
        {
            "What": _name(one.subject),
            "Now": size(one.held) + ("" if one.room is None else f", {size(one.room)} free"),
            "A day": "" if one.growth is None else f"{'+' * (one.growth > 0)}{size(one.growth)}",
            "Forecast": forecast(one),
        }
        for one in found
    ]


def forecast(one: Stored) -> str:
    """For how long there is room."""
    if one.room is None:
        return "it has no limit of its own"
    if one.subject == EVIDENCE and one.room == 0:
        return "the oldest closed are let go now"
    if one.growth is None:
        return f"known after {LEAST.total_seconds() / 3600:.0f} hours"
    if one.days is None:
        return f"does not fill {RATE}"
    when = f"{_in_days(one.days)} {RATE}"
    return f"{when} the oldest closed are let go" if one.subject == EVIDENCE else f"full {when}"


def size(bytes: float) -> str:
    """Bytes for people, in 10^9, 10^6 or 10^3."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if abs(bytes) >= unit:
            return f"{bytes / unit:,.1f} {name}"
    return f"{bytes / 1e3:,.1f} kB"


def _in_days(days: float) -> str:
    if days < 1:
        return "in less than a day"
    return "in more than two years" if days > LONG else f"in about {days:.0f} day{'s' * (round(days) != 1)}"


def _name(subject: str) -> str:
    if not subject.startswith("disk:"):
        return NAMES[subject]
    host, folder = subject.removeprefix("disk:").split(":", 1)
    return f"Disk at {folder} of {host}"
