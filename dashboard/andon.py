"""The board of the Line page: one tile a station, all of it in words, and what it says on top."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlencode

from agent.store.alerts import Alert, fitted, station_subject
from agent.store.station_states import kinds_by_subject, troubles
from agent.store.stations import Station
from agent.store.trends import ProductRate, StationRate
from dashboard.alerts import ago, since
from dashboard.codes import shown
from dashboard.floor import MOST, Floor
from dashboard.words import later, opening, say, several

Level = Literal["stop", "warn", "idle", "good"]
ICONS: dict[Level, str] = {"stop": "✖", "warn": "▲", "idle": "○", "good": "✔"}
# The worst first: a station shows the first one that holds. What each level looks like is the component's.
STATES: dict[str, Level] = {
    later("blind"): "stop", later("silent"): "stop", later("stopped"): "stop", later("frozen"): "stop",
    later("black"): "stop", later("no model"): "stop", later("untrusted"): "warn", later("late"): "warn",
    later("overexposed"): "warn", later("out of focus"): "warn", later("gaps"): "warn",
    later("over its rate"): "warn", later("drifting"): "warn", later("lapsed"): "warn", later("uncertified"): "warn",
    later("slow"): "warn", later("waiting"): "idle", later("teaching"): "idle", later("running"): "good",
}  # fmt: skip
CAMERA = {  # of agent.store.station_states
    "frozen": later("its camera repeats the same picture"),
    "black": later("its pictures are black"),
    "overexposed": later("its pictures are overexposed"),
    "out of focus": later("its pictures are blurred"),
    "gaps": later("frames were lost between its camera and the broker"),
}
QUIET = timedelta(minutes=2)  # without a frame for so long, and for so many of its usual intervals, it has stopped
INTERVALS = 5
LATE, SLOW = 0.05, 0.5  # shares: of frames decided late, of the usual rate
LEAST = 10  # frames that a share is of
NAMED = 8  # in the banner


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a tile; `more` is what to compare it with, `note` says what it is of."""

    name: str
    value: str
    more: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tile:
    """One station in words, but for its `state`, a key of `STATES`; `why` says what that means where it is not good."""

    station: str
    state: str
    why: str
    product: str
    model: str
    facts: tuple[Fact, ...]
    waiting: str  # parts that wait for a review
    picture: str | None = None  # its address: of a frame of these seconds, else of the newest that people have judged
    alt: str = ""
    pictured: str = ""  # which one that is, and how old

    @property
    def level(self) -> Level:
        """How bad it is; its colour and icon."""
        return STATES[self.state]


@dataclass(frozen=True, slots=True)
class Banner:
    """What stands on top: the worst level, one line, and the stations to look at, the worst first."""

    level: Level
    words: str
    tiles: tuple[Tile, ...] = ()


def tiles(floor: Floor, now: datetime) -> list[Tile]:
    """One a station, always in the same order: people know a tile by its place."""
    kinds = kinds_by_subject(floor.standing)
    return [_tile(floor, station, kinds, now) for station in sorted(floor.stations, key=lambda one: natural(one.name))]


def banner(found: Sequence[Tile], standing: Sequence[Alert]) -> Banner:
    """What needs somebody, or that all is well; `standing` are the open alerts."""
    order = list(STATES)
    bad = sorted((one for one in found if one.level in ("stop", "warn")), key=lambda one: order.index(one.state))
    elsewhere = [one for one in standing if one.level == "error" and not one.subject.startswith("station:")]
    others = "".join(f"; {shown(one.kind)} ({one.subject})" for one in elsewhere)
    if bad:
        worst: Level = "stop" if elsewhere or bad[0].level == "stop" else "warn"
        need = several("{n} station needs somebody", "{n} stations need somebody", len(bad))
        if len(bad) > NAMED:
            need = say("{n} stations need somebody, the worst {named} are these", n=len(bad), named=NAMED)
        return Banner(worst, f"{need}{others}", tuple(bad[:NAMED]))
    if elsewhere:
        return Banner("stop", opening(others[2:]))
    running = sum(one.level == "good" for one in found)
    if running == len(found):
        return Banner("good", say("All {n} stations run", n=running) if running > 1 else say("The station runs"))
    counted = [(state, sum(one.state == state for one in found)) for state in ("waiting", "teaching")]
    rest = ", ".join(f"{n} {say(state)}" for state, n in counted if n)
    return Banner("idle", say("{running} of {n} stations run, {rest}", running=running, n=len(found), rest=rest))


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts press-2 before press-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())]


def _tile(floor: Floor, station: Station, kinds: Mapping[str, Collection[str]], now: datetime) -> Tile:
    lately = [one for one in floor.lately if one.station_id == station.id]
    product = max(lately, key=lambda one: one.last).product_id if lately else station.product_id
    name = floor.products.get(product, "—") if product is not None else "—"
    rate = floor.rates.get(station.id)
    state, why = next(_states(floor, station, product, name, kinds, now))
    waiting = floor.waiting.get(station.id, 0)
    picture, alt, pictured = _picture(floor, station, now)
    return Tile(
        station=station.name,
        state=state,
        why=why,
        product=name,
        model=_model(floor, product),
        facts=(
            _rate(rate, floor.usual.get(station.id), floor.minutes),
            _lag(rate),
            _flags(floor, product, lately),
            Fact(
                say("Not inspected"),
                f"{rate.not_inspected if rate else 0:,}",
                note=say("of the last minutes; never a pass"),
            ),
            _heard(station, floor.silent_after_s, now),
        ),
        waiting=say("{n:,} or more", n=waiting) if waiting == MOST else f"{waiting:,}",
        picture=picture,
        alt=alt,
        pictured=pictured,
    )


def _picture(floor: Floor, station: Station, now: datetime) -> tuple[str | None, str, str]:
    """Address, alternative text and age of what a tile shows: what the live view has, else what was judged."""
    if glance := floor.glances.get(station.id):
        address = f"/now/{station.id}?{urlencode({'at': glance.at.isoformat()})}"
        return address, _alt(station, glance.heatmap), since(glance.at, now)
    if picture := floor.pictures.get(station.id):
        pictured = say("judged: seen {since}", since=since(picture.at, now))
        return f"/small/{picture.sha256}", _judged_alt(station, picture.heatmap), pictured
    return None, "", ""


def _alt(station: Station, heatmap: bool) -> str:
    if heatmap:
        return say("newest picture of {station}, under its heatmap", station=station.name)
    return say("newest picture of {station}, without a heatmap", station=station.name)


def _judged_alt(station: Station, heatmap: bool) -> str:
    if heatmap:
        return say("newest judged picture of {station}, under its heatmap", station=station.name)
    return say("newest judged picture of {station}, without a heatmap", station=station.name)


def _states(
    floor: Floor, station: Station, product: int | None, name: str, kinds: Mapping[str, Collection[str]], now: datetime
) -> Iterator[tuple[str, str]]:
    """What holds of a station, and why, the worst first; the last one always holds."""
    own = troubles(station, kinds.get(fitted(station_subject(station.name)), ()))
    pair = kinds.get(fitted(f"{station_subject(station.name)} product:{name}"), ())
    rate, usual, last = floor.rates.get(station.id), floor.usual.get(station.id), station.last_frame_at
    if "blind" in own:
        yield "blind", say("{n} frames in a row could not be inspected", n=station.failures_in_row)
    if "silent" in own:
        yield "silent", say("no frame for {age}", age=ago(last, now)) if last else say("no frame has come")
    if last is None:
        yield "waiting", say("no frame yet")
    elif now - last > max(QUIET, INTERVALS * timedelta(minutes=1 / usual) if usual else QUIET):
        yield "stopped", say("no frame for {age}", age=ago(last, now))
    camera = [(state, say(CAMERA[state])) for state in own if state in CAMERA]
    yield from (one for one in camera if STATES[one[0]] == "stop")
    live, known = floor.live.get(product or 0), product is not None
    if known and live is None and product not in floor.taught:
        yield "no model", say("nothing is inspected: its product has no model")
    if "no_trusted_model" in kinds.get(fitted(f"product:{name}"), ()):
        yield "untrusted", say("neither model can be trusted: what either flags is reviewed")
    if rate and rate.frames >= LEAST and rate.late > LATE * rate.frames:
        yield "late", say("{late:,} of {frames:,} frames were decided late", late=rate.late, frames=rate.frames)
    yield from camera
    if "flag_rate" in pair:
        yield "over its rate", say("more is flagged than its certificate allows")
    if "drift" in pair:
        yield "drifting", say("its scores have changed")
    if product in floor.lapsed:
        yield "lapsed", say("its certificate does not speak for the stream as it is now, or not at the rate asked for")
    if live is not None and not live.certifies:
        yield "uncertified", say("without a certificate every part goes to review")
    if usual and usual * floor.minutes >= LEAST and _per_minute(rate, floor.minutes) < SLOW * usual:
        yield "slow", say("it runs at less than half of its usual rate")
    if live is None and product in floor.taught:
        yield "teaching", say("its parts are collected for a first model")
    yield "running", ""


def _per_minute(rate: StationRate | None, minutes: float) -> float:
    return rate.frames / minutes if rate else 0.0


def _rate(rate: StationRate | None, usual: float | None, minutes: float) -> Fact:
    note = say("frames over the last minutes, of what is usual: the median quarter hour of the last day")
    of = say("of {n}", n=_short(usual)) if usual else ""
    return Fact(say("Per minute"), _short(_per_minute(rate, minutes)), of, note)


def _lag(rate: StationRate | None) -> Fact:
    note = say("from the picture to its decision, on average of the frames of the last minutes")
    if rate is None or rate.mean_latency_ms is None:
        return Fact(say("Lag"), "—", note=note)
    return Fact(say("Lag"), say("{n} s", n=_short(rate.mean_latency_ms / 1000)), say("n = {n:,}", n=rate.frames), note)


def _heard(station: Station, silent_after_s: float, now: datetime) -> Fact:
    more = note = ""
    if station.unwatched(silent_after_s):
        more = say("not watched")
        note = say(
            "no alert comes where it stops sending; an engineer sets: goodpart stations set {station} --silent-after "
            "SECONDS",
            station=station.name,
        )
    return Fact(say("Last frame"), ago(station.last_frame_at, now), more, note)


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def _flags(floor: Floor, product: int | None, lately: Iterable[ProductRate]) -> Fact:
    live = floor.live.get(product or 0)
    mine = [one for one in lately if one.product_id == product and (live is None or one.deployment_id == live.id)]
    inspected, flagged = sum(one.inspected for one in mine), sum(one.flagged for one in mine)
    if not inspected:
        return Fact(say("Flagged"), "—")
    allowed = live.certificate["certified_review_rate"] if live and live.certificate and live.certifies else None
    of = say("of {n}", n=f"{inspected:,}")
    more = f"{of}, ≤ {allowed:.1%}" if allowed is not None else of
    note = say("{flagged:,} of {inspected:,} frames of the last hour", flagged=flagged, inspected=inspected)
    return Fact(say("Flagged"), f"{flagged / inspected:.1%}", more, note)


def _model(floor: Floor, product: int | None) -> str:
    live = floor.live.get(product or 0)
    if live is None:
        return say("model in the making") if product in floor.taught else say("no model")
    return say("v{number}, lapsed", number=live.number) if product in floor.lapsed else f"v{live.number}"
