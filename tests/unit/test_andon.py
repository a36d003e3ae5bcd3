"""The board of the Line page: which state a station shows, in which words, and what stands on top."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agent.alerts.base import KINDS
from agent.live import Glance
from agent.store.alerts import Alert
from agent.store.registry import Deployment
from agent.store.station_work import Picture
from agent.store.stations import Station
from agent.store.trends import ProductRate, StationRate
from dashboard.andon import ICONS, STATES, Tile, banner, natural, tiles
from dashboard.floor import MOST, Floor
from tests.databases import NOW

STATION = Station(1, "press-1", 7, None, "ok", None, 0, NOW, None, NOW, None)
LIVE = Deployment(
    3, 7, 5, 4, "a", 2, {"review_threshold": 1.5, "certified_review_rate": 0.05}, "c", "gate", None, NOW, None
)
FLOOR = Floor(
    stations=[STATION], rates={1: StationRate(1, 100, 4, 0, 0, 412.0)}, minutes=5.0,
    lately=[ProductRate(1, 7, 3, 1000, 31, NOW)], usual={1: 21.0}, products={7: "flange", 8: "bracket"},
    live={7: LIVE}, waiting={1: 12}, pictures={1: Picture("b" * 64, True, NOW - timedelta(minutes=3))},
)  # fmt: skip


def _alerts(kinds: Collection[str], subject: str = "station:press-1", level: str = "warning") -> list[Alert]:
    assert set(kinds) <= KINDS
    return [
        Alert(n, kind, subject, level, "", {}, 1, NOW, NOW, None, None, None, 0, None, None)
        for n, kind in enumerate(kinds)
    ]


def _tile(after: timedelta = timedelta(), station: Station = STATION, **changes: Any) -> Tile:
    (tile,) = tiles(replace(FLOOR, stations=[station], **changes), NOW + after)
    return tile


def _facts(tile: Tile) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.more) for fact in tile.facts}


def test_a_tile_says_rate_lag_flags_and_age_each_beside_what_to_compare_it_with() -> None:
    tile = _tile(timedelta(seconds=4))
    assert (tile.state, tile.level, tile.why, tile.product, tile.model) == ("running", "good", "", "flange", "v4")
    assert _facts(tile) == {
        "Per minute": ("20", "of 21"), "Lag": ("0.4 s", "n = 100"), "Flagged": ("3.1%", "of 1,000, ≤ 5.0%"),
        "Not inspected": ("0", ""),
        "Last frame": ("4 s", "not watched"),
    }  # fmt: skip
    assert (tile.waiting, tile.picture, tile.pictured) == ("12", f"/small/{'b' * 64}", "judged: seen 3 min ago")
    assert tile.alt == "newest judged picture of press-1, under its heatmap"
    bare = _tile(rates={}, lately=[], usual={}, live={}, waiting={1: MOST}, pictures={})
    assert _facts(bare) == {
        "Per minute": ("0.0", ""), "Lag": ("—", ""), "Flagged": ("—", ""), "Not inspected": ("0", ""),
        "Last frame": ("0 s", "not watched"),
    }  # fmt: skip
    assert (bare.waiting, bare.picture, bare.model) == ("500 or more", None, "no model")


def test_a_tile_says_that_nobody_would_be_told_of_its_silence() -> None:
    (said,) = [fact for fact in _tile().facts if fact.name == "Last frame"]
    assert "goodpart stations set press-1 --silent-after" in said.note
    on_purpose = replace(STATION, silent_after_s=0.0)
    for tile in (
        _tile(silent_after_s=900),
        _tile(station=replace(STATION, silent_after_s=60)),
        _tile(station=on_purpose),
    ):
        assert _facts(tile)["Last frame"] == ("0 s", "")


def test_a_picture_of_now_stands_before_one_that_was_judged() -> None:
    tile = _tile(timedelta(seconds=9), glances={1: Glance(NOW, True)})
    assert (tile.picture, tile.pictured) == ("/now/1?at=2026-03-02T10%3A07%3A30%2B00%3A00", "9 s ago")
    assert tile.alt == "newest picture of press-1, under its heatmap"
    later = _tile(timedelta(seconds=14), glances={1: Glance(NOW + timedelta(seconds=5), False)}, pictures={})
    assert later.picture != tile.picture and later.alt == "newest picture of press-1, without a heatmap"


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ((), "running"),
        (("sequence_gap",), "gaps"),
        (("sequence_gap", "camera_defocused"), "out of focus"),
        (("camera_defocused",), "out of focus"),
        (("camera_defocused", "camera_saturated"), "overexposed"),
        (("camera_saturated", "camera_black"), "black"),
        (("camera_black", "camera_frozen"), "frozen"),
        (("camera_black", "station_silent"), "silent"),
        (("station_silent", "station_blind", "camera_frozen"), "blind"),
    ],
)
def test_a_station_shows_the_worst_that_stands(kinds: tuple[str, ...], state: str) -> None:
    assert _tile(standing=_alerts(kinds)).state == state


def test_a_station_shows_only_alerts_of_its_own_and_of_what_it_makes() -> None:
    assert _tile(standing=_alerts(["station_blind"], "station:press-2")).state == "running"
    assert _tile(standing=_alerts(["flag_rate"], "station:press-1 product:bracket")).state == "running"
    assert _tile(standing=_alerts(["flag_rate"], "station:press-1 product:flange")).state == "over its rate"
    assert _tile(standing=_alerts(["drift"], "station:press-1 product:flange")).state == "drifting"
    assert _tile(standing=_alerts(["no_trusted_model"], "product:flange")).state == "untrusted"
    long = "n" * 250
    (stored,) = _alerts(["station_silent"], "station:press-1")
    assert _tile(station=replace(STATION, name=long), standing=[stored]).state == "running"


def test_a_station_without_frames_is_waiting_or_has_stopped() -> None:
    blind = replace(STATION, status="blind", failures_in_row=23)
    assert (_tile(station=blind).state, _tile(station=blind).why) == (
        "blind", "23 frames in a row could not be inspected",
    )  # fmt: skip
    new = replace(STATION, last_frame_at=None)
    assert (_tile(station=new).state, _tile(station=new).level) == ("waiting", "idle")
    assert _tile(station=new, standing=_alerts(["station_silent"])).state == "silent"
    two, more = timedelta(minutes=2), timedelta(minutes=2, seconds=1)
    assert _tile(two).state == "running"
    assert (_tile(more).state, _tile(more).level, _tile(more).why) == ("stopped", "stop", "no frame for 2 min")


def test_a_station_that_is_slow_by_nature_has_stopped_after_five_of_its_intervals() -> None:
    slow = {1: 0.5}  # a frame every two minutes
    assert [_tile(timedelta(minutes=n), usual=slow).state for n in (10, 11)] == ["running", "stopped"]


def test_late_and_slow_are_said_of_enough_frames() -> None:
    late = {1: StationRate(1, 100, 4, 0, 6, 2100.0)}
    assert (_tile(rates=late).state, _tile(rates=late).why) == ("late", "6 of 100 frames were decided late")
    assert _tile(rates={1: StationRate(1, 100, 4, 0, 5, 2100.0)}).state == "running"
    assert _tile(rates={1: StationRate(1, 9, 0, 0, 9, 2100.0)}, usual={}).state == "running"
    assert _tile(rates={1: StationRate(1, 52, 0, 0, 0, 400.0)}).state == "slow"
    assert _tile(rates={1: StationRate(1, 53, 0, 0, 0, 400.0)}).state == "running"
    assert _tile(rates={1: StationRate(1, 1, 0, 0, 0, 400.0)}, usual={1: 1.9}).state == "running"


def test_a_station_shows_what_its_model_may_not_say() -> None:
    assert (_tile(live={}).state, _tile(live={}).level) == ("no model", "stop")
    taught = _tile(live={}, taught={7})
    assert (taught.state, taught.level, taught.model) == ("teaching", "idle", "model in the making")
    assert [(_tile(lapsed=of).state, _tile(lapsed=of).model) for of in ({7}, {8})] == [
        ("lapsed", "v4, lapsed"), ("running", "v4"),
    ]  # fmt: skip
    for certificate in (None, {"review_threshold": None, "certified_review_rate": 0.05}):
        bare = _tile(live={7: replace(LIVE, certificate=certificate)})
        assert bare.state == "uncertified"
        assert _facts(bare)["Flagged"] == ("3.1%", "of 1,000")


def test_a_station_is_told_by_the_product_that_it_ran_last() -> None:
    now = [*FLOOR.lately, ProductRate(1, 8, 9, 10, 5, NOW + timedelta(minutes=1))]
    other = replace(LIVE, id=9, product_id=8, number=1)
    tile = _tile(lately=now, live={7: LIVE, 8: other})
    assert (tile.product, tile.model, _facts(tile)["Flagged"]) == ("bracket", "v1", ("50.0%", "of 10, ≤ 5.0%"))
    # What another version of the model flagged is none of this certificate's.
    before = [ProductRate(1, 7, 2, 100, 90, NOW), *FLOOR.lately]
    assert _facts(_tile(lately=before))["Flagged"] == ("3.1%", "of 1,000, ≤ 5.0%")


def test_tiles_keep_their_places_and_the_banner_names_the_worst_first() -> None:
    names = ["press-10", "press-2", "Press-1", "oven"]
    states = {"press-10": "ok", "press-2": "blind", "Press-1": "ok", "oven": "ok"}
    found = tiles(
        replace(FLOOR, standing=_alerts(["camera_defocused"], "station:oven"),
                stations=[replace(STATION, name=name, status=states[name]) for name in names]), NOW,
    )  # fmt: skip
    assert [one.station for one in found] == ["oven", "Press-1", "press-2", "press-10"]
    top = banner(found, [])
    assert (top.level, top.words) == ("stop", "2 stations need somebody")
    assert [(one.station, one.state) for one in top.tiles] == [("press-2", "blind"), ("oven", "out of focus")]
    assert banner(found[:1], []).level == "warn"
    assert natural("7") < natural("a") and natural("a7b") < natural("a10")


def test_the_banner_says_that_all_is_well_what_waits_and_what_is_wrong_elsewhere() -> None:
    good, wait = _tile(), replace(_tile(), state="waiting")
    assert banner([good], []).words == "The station runs"
    assert (banner([good, good], []).level, banner([good, good], []).words) == ("good", "All 2 stations run")
    assert (banner([good, wait], []).level, banner([good, wait], []).words) == (
        "idle",
        "1 of 2 stations run, 1 waiting",
    )
    broken = _alerts(["partition_stalled"], "partition:t/0", "error")
    assert banner([good], broken).words == "Partition stalled (partition:t/0)"
    named = _alerts(["partition_stalled"], "partition:Frames/0", "error")
    assert banner([good], named).words == "Partition stalled (partition:Frames/0)", "a name stays as it is"
    assert banner([good], broken).level == "stop"
    stopped = replace(good, state="stopped")
    assert banner([stopped], broken).words == "1 station needs somebody; partition stalled (partition:t/0)"
    assert banner([good], _alerts(["partition_stalled"], "partition:t/0")).level == "good"
    many = banner([stopped] * 40, [])
    assert (many.words, len(many.tiles)) == ("40 stations need somebody, the worst 8 are these", 8)


def test_every_level_has_an_icon_of_its_own() -> None:
    assert set(STATES.values()) == set(ICONS) and len(set(ICONS.values())) == len(ICONS)
