"""How stations are, in one word, as their rows and the open alerts about them say it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agent.store.alerts import Alert
from agent.store.stations import Station

# The kinds of alerts about a whole station, the worst first, and the word for one that has it.
STATES = {
    "station_blind": "blind", "station_silent": "silent", "camera_frozen": "frozen", "camera_black": "black",
    "camera_saturated": "overexposed", "camera_defocused": "out of focus", "sequence_gap": "gaps",
}  # fmt: skip
OK = "ok"


def kinds_by_subject(found: Iterable[Alert]) -> dict[str, set[str]]:
    """The kinds of alerts, by subject."""
    kinds: dict[str, set[str]] = {}
    for alert in found:
        kinds.setdefault(alert.subject, set()).add(alert.kind)
    return kinds


def troubles(station: Station, kinds: Collection[str]) -> list[str]:
    """What is wrong with it, the worst first: of `kinds`, those of the open alerts about it, and of its own status."""
    blind = {"station_blind"} if station.status == "blind" else set()
    return [state for kind, state in STATES.items() if kind in blind | {*kinds}]
