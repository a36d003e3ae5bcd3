"""Stations of which nobody has said when they are silent: what the doctor and the list say of them."""

from __future__ import annotations

from collections.abc import Sequence

from agent.cli.finding import Finding
from agent.settings import Settings
from agent.store import stations
from agent.store.engine import StoreError, check_revision, open_engine, reading
from agent.store.stations import Station

NAMED = 8
FIX = (
    "goodpart stations set STATION --silent-after SECONDS, longer than its longest planned pause (0: never, on "
    "purpose), or alerts.silent_after_s for all"
)


def check(settings: Settings) -> Finding:
    """Every station has a time after which it is silent, or somebody wants none."""
    try:
        engine = open_engine(settings.database.url)
        check_revision(engine)
        with reading(engine) as conn:
            found = stations.all(conn)
    except StoreError:
        return Finding("silence", False, "no database says which stations there are", "as at database", needed=False)
    if said := unwatched(found, settings):
        return Finding("silence", False, said, FIX, needed=False)
    return Finding("silence", True, "a station that stops sending is an alert, unless it was set to 0")


def unwatched(found: Sequence[Station], settings: Settings) -> str:
    """What is not watched, in words; "" where nothing is left out."""
    names = [one.name for one in found if one.unwatched(settings.alerts.silent_after_s)]
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"silence is not watched, no alert comes of a stop at {', '.join(names[:NAMED])}{more}"
