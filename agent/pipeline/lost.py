"""Frames that cameras lost before the broker, as the numbers of the recorded ones say: told in their transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from agent.phrases import Phrase, kept
from agent.pipeline.numbering import Jump, Numbering
from agent.pipeline.work import Lane, Work
from agent.store import alerts, offsets
from agent.store.alerts import Alert, station_subject

SHARED_S = 86400  # a station that had another partition by then may have it still


def follow(lane: Lane, works: Sequence[Work], now: datetime) -> tuple[dict[str, Numbering], list[Jump]]:
    """How far the stations of these frames, no duplicates, are after them, and which numbers do not follow.

    A dead letter has used up its number, too, but may name what is no station.
    """
    found: dict[str, Numbering] = {}
    jumps: list[Jump] = []
    for envelope, whose in ((work.envelope, work.whose) for work in works):
        if envelope is None or envelope.sequence is None:
            continue
        station = envelope.station
        before = found.get(station) or lane.numbering.get(station) or (Numbering() if whose else None)
        if before is not None:
            found[station], jump = before.then(station, envelope.sequence)
            jumps += [jump] if jump and now.timestamp() >= before.silent_until else []
    return found, jumps


def tell(
    conn: Connection, lane: Lane, found: dict[str, Numbering], jumps: Sequence[Jump], now: datetime
) -> tuple[list[Jump], list[Alert]]:
    """Puts what was lost on record. Call it last in the frames' transaction: the alerts take turns with all others.

    A station whose frames come in several partitions, of whichever agent, has no order: its jumps say nothing, and
    `found` says until when.

    Returns:
        The jumps that say something, and the alerts that opened.
    """
    for station in {jump.station for jump in jumps}:
        at = offsets.numbered_elsewhere(conn, lane.claim, station)
        if at is not None and now.timestamp() < at + SHARED_S:
            found[station] = replace(found[station], silent_until=at + SHARED_S)
    told = [jump for jump in jumps if now.timestamp() >= found[jump.station].silent_until]
    opened = [_raise(conn, jump, now) for jump in told if jump.missed]
    return told, [one for one in opened if one]


def _raise(conn: Connection, jump: Jump, now: datetime) -> Alert | None:
    words = Phrase(
        "station {station}: {missed} frames were lost between the camera and the broker, after number {last}: "
        "look at the camera's log, its network and its buffer",
        station=jump.station, missed=jump.missed, last=jump.last,
    )  # fmt: skip
    detail = {"missed": jump.missed, "last": jump.last, "number": jump.number, **kept(words)}
    subject = station_subject(jump.station)
    return alerts.raise_(conn, "sequence_gap", subject, words, level="warning", detail=detail, event=True, now=now)
