"""How much is stored, how fast that grows, and for how long there is room, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from agent.store.storage import BLOBS, DATABASE, EVIDENCE, LEAST, Stored
from dashboard.words import later, say, several

NAMES = {
    BLOBS: later("Pictures and models"), DATABASE: later("Database"),
    EVIDENCE: later("Evidence under retention.evidence_gb"),
}  # fmt: skip
LONG = 730  # days: beyond it a rate of today says nothing


def rows(found: Sequence[Stored]) -> list[dict[str, object]]:
    """A row each of what is stored."""
    return [
        {
            later("What"): _name(one.subject),
            later("Now"): _now(one),
            later("A day"): "" if one.growth is None else f"{'+' * (one.growth > 0)}{size(one.growth)}",
            later("Forecast"): forecast(one),
        }
        for one in found
    ]


def forecast(one: Stored) -> str:
    """For how long there is room."""
    if one.room is None:
        return say("it has no limit of its own")
    if one.subject == EVIDENCE and one.room == 0:
        return say("the oldest closed are let go now")
    if one.growth is None:
        return say("known after {n:.0f} hours", n=LEAST.total_seconds() / 3600)
    if one.days is None:
        return say("does not fill at today's rate")
    if one.subject == EVIDENCE:
        return say("{when} at today's rate the oldest closed are let go", when=_in_days(one.days))
    return say("full {when} at today's rate", when=_in_days(one.days))


def _now(one: Stored) -> str:
    if one.room is None:
        return size(one.held)
    return say("{size}, {room} free", size=size(one.held), room=size(one.room))


def size(bytes: float) -> str:
    """Bytes for people, in 10^9, 10^6 or 10^3."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if abs(bytes) >= unit:
            return f"{bytes / unit:,.1f} {name}"
    return f"{bytes / 1e3:,.1f} kB"


def _in_days(days: float) -> str:
    if days < 1:
        return say("in less than a day")
    if days > LONG:
        return say("in more than two years")
    return several("in about {n} day", "in about {n} days", round(days))


def _name(subject: str) -> str:
    if not subject.startswith("disk:"):
        return say(NAMES[subject])
    host, folder = subject.removeprefix("disk:").split(":", 1)
    return say("Disk at {folder} of {host}", folder=folder, host=host)
