"""The board of the Line page: one tile a station, all of it in words, and what it says on top."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from agent.store.alerts import Alert, fitted, station_subject
from agent.store.stations import Station
from agent.store.trends import ProductRate, StationRate
from dashboard.alerts import ago, by_subject
from dashboard.floor import MOST, Floor

Level = Literal["stop", "warn", "idle", "good"]
ICONS: dict[Level, str] = {"stop": "✖", "warn": "▲", "idle": "○", "good": "✔"}
# The worst first: a station shows the first one that holds. What each level looks like is the component's.
STATES: dict[str, Level] = {
    "blind": "stop", "silent": "stop", "stopped": "stop", "frozen": "stop", "black": "stop", "no model": "stop",
    "untrusted": "warn", "late": "warn", "overexposed": "warn", "out of focus": "warn", "over its rate": "warn",
    "drifting": "warn", "lapsed": "warn", "uncertified": "warn", "slow": "warn",
    "waiting": "idle", "teaching": "idle", "running": "good",
}  # fmt: skip
CAMERA = {
    "camera_frozen": ("frozen", "its camera repeats the same picture"),
    "camera_black": ("black", "its pictures are black"),
    "camera_saturated": ("overexposed", "its pictures are overexposed"),
    "camera_defocused": ("out of focus", "its pictures are blurred"),
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
    """One station in words; `why` says what its state means where that is not good."""

    station: str
    state: str
    why: str
    product: str
    model: str
    facts: tuple[Fact, ...]
    waiting: str  # parts that wait for a review
    sha256: str | None = None  # of its newest picture that people have judged
    alt: str = ""
    pictured: str = ""  # how old that is

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
    kinds = by_subject(floor.standing)
    return [_tile(floor, station, kinds, now) for station in sorted(floor.stations, key=lambda one: natural(one.name))]


def banner(found: Sequence[Tile], standing: Sequence[Alert]) -> Banner:
    """What needs somebody, or that all is well; `standing` are the open alerts."""
    order = list(STATES)
    bad = sorted((one for one in found if one.level in ("stop", "warn")), key=lambda one: order.index(one.state))
    elsewhere = [one for one in standing if one.level == "error" and not one.subject.startswith("station:")]
    others = "".join(f"; {one.kind.replace('_', ' ')} ({one.subject})" for one in elsewhere)
    if bad:
        worst: Level = "stop" if elsewhere or bad[0].level == "stop" else "warn"
        need = "1 station needs" if len(bad) == 1 else f"{len(bad)} stations need"
        more = f", the worst {NAMED} are these" if len(bad) > NAMED else ""
        return Banner(worst, f"{need} somebody{more}{others}", tuple(bad[:NAMED]))
    if elsewhere:
        return Banner("stop", others[2].upper() + others[3:])
    running = sum(one.level == "good" for one in found)
    if running == len(found):
        return Banner("good", f"All {running} stations run" if running > 1 else "The station runs")
    rest = [f"{sum(one.state == state for one in found)} {state}" for state in ("waiting", "teaching")]
    return Banner("idle", f"{running} of {len(found)} stations run, " + ", ".join(r for r in rest if r[0] != "0"))


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
    picture = floor.pictures.get(station.id)
    under = "under its heatmap" if picture and picture.heatmap else "without a heatmap"
    return Tile(
        station=station.name,
        state=state,
        why=why,
        product=name,
        model=_model(floor, product),
        facts=(
            _rate(rate, floor.usual.get(station.id), floor.minutes),
            Fact("Lag", _duration(rate), note="from the picture to its decision, on average"),
            _flags(floor, product, lately),
            Fact("Not inspected", f"{rate.not_inspected if rate else 0:,}", note="of the last minutes; never a pass"),
            Fact("Last frame", ago(station.last_frame_at, now)),
        ),
        waiting=f"{waiting:,} or more" if waiting == MOST else f"{waiting:,}",
        sha256=picture.sha256 if picture else None,
        alt=f"newest judged picture of {station.name}, {under}" if picture else "",
        pictured=f"{ago(picture.at, now)} ago" if picture else "",
    )


def _states(
    floor: Floor, station: Station, product: int | None, name: str, kinds: Mapping[str, Collection[str]], now: datetime
) -> Iterator[tuple[str, str]]:
    """What holds of a station, and why, the worst first; the last one always holds."""
    own = kinds.get(fitted(station_subject(station.name)), ())
    pair = kinds.get(fitted(f"{station_subject(station.name)} product:{name}"), ())
    rate, usual, last = floor.rates.get(station.id), floor.usual.get(station.id), station.last_frame_at
    if station.status == "blind" or "station_blind" in own:
        yield "blind", f"{station.failures_in_row} frames in a row could not be inspected"
    if "station_silent" in own:
        yield "silent", f"no frame for {ago(last, now)}" if last else "no frame has come"
    if last is None:
        yield "waiting", "no frame yet"
    elif now - last > max(QUIET, INTERVALS * timedelta(minutes=1 / usual) if usual else QUIET):
        yield "stopped", f"no frame for {ago(last, now)}"
    camera = [CAMERA[kind] for kind in CAMERA if kind in own]
    yield from (one for one in camera if STATES[one[0]] == "stop")
    live, known = floor.live.get(product or 0), product is not None
    if known and live is None and product not in floor.taught:
        yield "no model", "nothing is inspected: its product has no model"
    if "no_trusted_model" in kinds.get(fitted(f"product:{name}"), ()):
        yield "untrusted", "neither model can be trusted: what either flags is reviewed"
    if rate and rate.frames >= LEAST and rate.late > LATE * rate.frames:
        yield "late", f"{rate.late:,} of {rate.frames:,} frames were decided late"
    yield from camera
    if "flag_rate" in pair:
        yield "over its rate", "more is flagged than its certificate allows"
    if "drift" in pair:
        yield "drifting", "its scores have changed"
    if product in floor.lapsed:
        yield "lapsed", "its certificate does not speak for the stream as it is now"
    if live is not None and not live.certifies:
        yield "uncertified", "without a certificate every part goes to review"
    if usual and usual * floor.minutes >= LEAST and _per_minute(rate, floor.minutes) < SLOW * usual:
        yield "slow", "it runs at less than half of its usual rate"
    if live is None and product in floor.taught:
        yield "teaching", "its parts are collected for a first model"
    yield "running", ""


def _per_minute(rate: StationRate | None, minutes: float) -> float:
    return rate.frames / minutes if rate else 0.0


def _rate(rate: StationRate | None, usual: float | None, minutes: float) -> Fact:
    note = "frames over the last minutes, of what is usual: the median quarter hour of the last day"
    return Fact("Per minute", _short(_per_minute(rate, minutes)), f"of {_short(usual)}" if usual else "", note)


def _duration(rate: StationRate | None) -> str:
    if rate is None or rate.mean_latency_ms is None:
        return "—"
    return f"{_short(rate.mean_latency_ms / 1000)} s"


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def _flags(floor: Floor, product: int | None, lately: Iterable[ProductRate]) -> Fact:
    live = floor.live.get(product or 0)
    mine = [one for one in lately if one.product_id == product and (live is None or one.deployment_id == live.id)]
    inspected, flagged = sum(one.inspected for one in mine), sum(one.flagged for one in mine)
    if not inspected:
        return Fact("Flagged", "—")
    allowed = live.certificate["certified_review_rate"] if live and live.certificate and live.certifies else None
    more = f"≤ {allowed:.1%}" if allowed is not None else ""
    return Fact("Flagged", f"{flagged / inspected:.1%}", more, f"{flagged:,} of {inspected:,} frames of the last hour")


def _model(floor: Floor, product: int | None) -> str:
    live = floor.live.get(product or 0)
    if live is None:
        return "model in the making" if product in floor.taught else "no model"
    return f"v{live.number}, lapsed" if product in floor.lapsed else f"v{live.number}"
