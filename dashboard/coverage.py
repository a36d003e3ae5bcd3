"""Of which stations, weeks and hours there are samples, beside what ran there, and where they are thin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agent.store import coverage, stations
from agent.store.coverage import Seen, Weeks
from agent.store.epochs import Epoch
from dashboard.samples import NAMES
from dashboard.words import later, say, several

ROLES = ("train", "calibration", "holdout")  # those that a stream fills
LEAST = 0.01  # of a product's frames: what ran for less is not missed
THIN = 0.25  # of the samples that as many frames have elsewhere

Place = Callable[[Seen], int]  # a week, a slot or a shift
Key = tuple[int, int]  # station and place


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the next training run would take of some weeks.

    Attributes:
        totals: samples of all time by station and role; imported ones have no station.
        seen: samples of these weeks.
        ran: frames that were inspected in them.
        stations: names by id.
    """

    weeks: Weeks
    totals: Mapping[tuple[int | None, str], int]
    seen: Sequence[Seen]
    ran: Sequence[Seen]
    stations: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """Samples of one role at one station and time, and the frames inspected then; thin: far fewer than elsewhere."""

    station: str
    when: str
    samples: int
    frames: int
    thin: bool


def read(conn: Connection, product_id: int, epoch: Epoch | None, weeks: Weeks, now: datetime) -> Coverage:
    """Of one product; `epoch` is whose calibration and hold-out samples a run would take."""
    epoch_id = epoch.id if epoch else None
    return Coverage(
        weeks,
        coverage.by_station(conn, product_id, epoch_id),
        coverage.by_time(conn, product_id, epoch_id, weeks, now),
        coverage.inspected(conn, product_id, weeks, now),
        {one.id: one.name for one in stations.all(conn, retired=True)},
    )  # fmt: skip


def by_station(found: Coverage) -> list[dict[str, object]]:
    """A row a station: how many samples of each role; what was imported is the last one."""
    places = {place for place, _ in found.totals} | {one.station_id for one in found.ran}
    named = sorted((found.stations[place], place) for place in places if place is not None)
    rows: list[tuple[str, int | None]] = [*named, *([(say("(imported)"), None)] if None in places else [])]
    return [
        {later("Station"): name, **{NAMES[role]: f"{found.totals.get((place, role), 0):,}" for role in NAMES}}
        for name, place in rows
    ]


def weekly(found: Coverage, role: str) -> list[Cell]:
    """Samples by station and week."""
    monday = found.weeks.monday
    return _cells(found, role, lambda one: one.week, lambda week: f"{monday + timedelta(weeks=week):%m-%d}")


def hourly(found: Coverage, role: str) -> list[Cell]:
    """Samples by station and time of the day, from the first shift on."""
    return _cells(found, role, lambda one: one.slot, lambda slot: f"{found.weeks.begins(slot):%H:%M}")


def _cells(found: Coverage, role: str, place: Place, label: Callable[[int], str]) -> list[Cell]:
    have, ran = _sums(found, role, place)
    thin = _thin(have, ran, least=1)
    keys = sorted((at, found.stations[station], station) for station, at in {**have, **ran})
    return [
        Cell(name, label(at), have[station, at], ran[station, at], (station, at) in thin)
        for at, name, station in keys
    ]  # fmt: skip


def thin(found: Coverage) -> list[str]:
    """Shifts of stations that ran, and of which there are no samples of a role, or few; a sentence each."""
    said, shifts = list[tuple[int, str]](), found.weeks.shifts
    for role in ROLES:
        have, ran = _sums(found, role, lambda one: shifts.index(found.weeks.shift(one.slot)))
        if not have:
            if ran and role != "holdout":  # without hold-out the gate says that it is too small
                said.append((0, say("no {role} sample at all of these weeks", role=say(NAMES[role]))))
            continue
        for key in sorted(_thin(have, ran), key=lambda one: (found.stations[one[0]], one[1])):
            station, shift = key
            place = {"role": say(NAMES[role]), "station": found.stations[station]}
            at = {"shift": f"{shifts[shift]:%H:%M}", "frames": ran[key]}
            said.append((have[key], _few(have[key], **place, **at)))
    return [text for _, text in sorted(said, key=lambda one: one[0] > 0)]


def _few(n: int, **where: object) -> str:
    if not n:
        return say(
            "no {role} sample of {station} in the shift from {shift}, of {frames:,} frames inspected then", **where
        )
    return several(
        "only {n} {role} sample of {station} in the shift from {shift}, of {frames:,} frames inspected then",
        "only {n} {role} samples of {station} in the shift from {shift}, of {frames:,} frames inspected then",
        n,
        **where,
    )


def _sums(found: Coverage, role: str, place: Place) -> tuple[Counter[Key], Counter[Key]]:
    """Samples of a role, and frames, by station and place."""
    have, ran = Counter[Key](), Counter[Key]()
    for one in found.seen:
        if one.role == role:
            have[one.station_id, place(one)] += one.n
    for one in found.ran:
        ran[one.station_id, place(one)] += one.n
    return have, +ran


def _thin(have: Counter[Key], ran: Counter[Key], least: float = 0) -> set[Key]:
    """Where there are none, or less than `THIN` of what the share of frames would give, if that is `least` or more."""
    frames, samples = ran.total(), have.total()
    wanted = {key: samples * n / frames for key, n in ran.items() if n >= LEAST * frames}
    return {key for key, many in wanted.items() if many >= least and (not have[key] or have[key] < THIN * many)}
