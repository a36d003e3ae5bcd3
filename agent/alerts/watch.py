"""Conditions judged from the database, now and then: blind and silent stations, and what nobody will end any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.phrases import Phrase
from agent.store import alerts, stations
from agent.store.alerts import Alert, fitted, station_subject
from agent.store.engine import reading
from agent.store.stations import Station

OF_PAIRS = frozenset({"flag_rate", "drift"})  # of a station and a product: who raises them ends them
# What a host says again and again while it lasts; unsaid for so long, the process or the host is gone.
FORGOTTEN = {"partition_stalled": timedelta(minutes=5), "disk": timedelta(days=1), "disk_fills": timedelta(days=1)}


def tell_blind(alarms: Alarms, station: str, blind: bool, failures: int) -> None:
    """Says whether a station is blind."""
    if not blind:
        alarms.cleared("station_blind", station_subject(station))
        return
    words = Phrase(
        "{station} is blind: {failures} frames in a row could not be inspected. Look at its camera and at what its "
        "last frames say; the other stations go on",
        station=station,
        failures=failures,
    )
    alarms.raised("station_blind", station_subject(station), words, level="error", failures=failures)


class Watch:
    """Compares stations with the alerts that stand.

    What a crash kept from being said is said here: the recorder says `station_blind` at once, this at its next turn.

    Args:
        engine: the database.
        alarms: takes what it finds.
        silent_after_s: of stations without a time of their own; 0: never.
        reading_frames: whether frames are recorded as they come, so that one that is missing was not sent.
    """

    def __init__(
        self, engine: Engine, alarms: Alarms, *, silent_after_s: float, reading_frames: Callable[[], bool]
    ) -> None:
        self._engine, self._alarms = engine, alarms
        self._silent_after_s, self._reading_frames = silent_after_s, reading_frames
        self._heard: dict[int, tuple[datetime | None, datetime]] = {}  # last frame, and when it was seen to change

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            StoreError: the database is away.
        """
        with reading(self._engine) as conn:
            found = stations.all(conn)
            standing = alerts.standing(conn)
        raised = {(one.kind, one.subject) for one in standing}
        for station in found:
            subject = fitted(station_subject(station.name))
            blind = station.status == "blind"
            if blind != (("station_blind", subject) in raised):
                tell_blind(self._alarms, station.name, blind, station.failures_in_row)
        self._silence(found, raised, now)
        self._forget(standing, found, now)

    def _silence(self, found: Sequence[Station], raised: Collection[tuple[str, str]], now: datetime) -> None:
        if not self._reading_frames():
            self._heard = {}
            return
        for station in found:
            subject = station_subject(station.name)
            limit = station.silent_after(self._silent_after_s)
            changed, since = self._listen(station, now)
            last = station.last_frame_at or station.created_at
            told = ("station_silent", fitted(subject)) in raised
            if told and (limit == 0 or changed or (now - last).total_seconds() <= limit):
                self._alarms.cleared("station_silent", subject)
            elif not told and limit and (now - max(last, since)).total_seconds() > limit:
                words = Phrase(
                    "{station} sends no frames: the last one {when}, and {limit:.0f} s are allowed. Look at the "
                    "camera, its network, and whether the line stands still",
                    station=station.name, when=_when(station.last_frame_at), limit=limit,
                )  # fmt: skip
                self._alarms.raised("station_silent", subject, words, level="error", silent_after_s=limit)

    def _listen(self, station: Station, now: datetime) -> tuple[bool, datetime]:
        """Whether a frame came since the last look, and when it was seen to.

        A camera's clock may be hours behind, and this agent may have been away: the first look counts as a frame.
        """
        before = self._heard.get(station.id)
        if before and before[0] == station.last_frame_at:
            return False, before[1]
        self._heard[station.id] = (station.last_frame_at, now)
        return before is not None, now

    def _forget(self, standing: Sequence[Alert], found: Sequence[Station], now: datetime) -> None:
        """Ends what is said of stations that are gone, and of hosts that say nothing any more."""
        known = {fitted(station_subject(one.name)) for one in found}
        for alert in standing:
            of_station = alert.subject.startswith("station:") and alert.kind not in OF_PAIRS
            gone = of_station and alert.subject not in known
            if gone or now - alert.seen_at > FORGOTTEN.get(alert.kind, timedelta.max):
                self._alarms.cleared(alert.kind, alert.subject)


def _when(moment: datetime | None) -> Phrase:
    return Phrase("is of {time} UTC", time=f"{moment:%Y-%m-%d %H:%M:%S}") if moment else Phrase("has yet to come")
