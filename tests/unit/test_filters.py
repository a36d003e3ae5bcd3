"""Filters in the address: a link shows another person the same, and what makes no sense there asks for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from agent.settings import load
from agent.store import products, score_bins, trends
from agent.store.engine import writing
from dashboard import context
from tests.databases import NOW, Line
from tests.pages import opened

# The plant's day is not UTC's: 23:30 and 01:30 are the 28th and the 29th at UTC, both the 29th in Berlin's winter.
EARLY, LATE = datetime(2026, 1, 28, 23, 30, tzinfo=UTC), datetime(2026, 1, 29, 1, 30, tzinfo=UTC)
TWICE = [datetime(2025, 10, 26, hour, 30, tzinfo=UTC) for hour in (0, 1)]  # 02:30 in Berlin, both


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Parts A and B, early and late on a plant's day, C and D in the hour that comes twice in autumn."""
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    monkeypatch.setattr(context, "settings", lambda: load(None, {"GOODPART_PLANT__TIMEZONE": "Europe/Berlin"}))
    with writing(here.engine) as conn:
        for n, (serial, at) in enumerate(zip("ABCD", (EARLY, LATE, *TWICE), strict=True)):
            here.add_item(conn, n, serial=f"S{serial}", event_at=at)
    yield here


def _found(page: AppTest) -> set[str]:
    return set(re.findall(r">S([A-D])</a>", " ".join(one.proto.body for one in page.get("html"))))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"from-day": "2026-01-29", "to-day": "2026-01-29"}, "AB"),
        ({"from-day": "2026-01-29", "from-time": "01:00"}, "B"),
        ({"from-day": "2026-01-29", "from-time": "00:30"}, "AB"),
        ({"from-day": "2026-01-29", "to-day": "2026-01-29", "to-time": "02:30"}, "A"),
        ({"from-day": "2026-01-29", "from-time": "02:30", "to-day": "2026-01-29", "to-time": "00:30"}, ""),
        ({"to-day": "2025-10-26", "to-time": "02:31"}, "CD"),
        ({"from-day": "2025-10-26", "from-time": "02:30", "to-day": "2025-10-26", "to-time": "02:30"}, "C"),
        ({"from-time": "01:00", "to-time": "02:00"}, "ABCD"),  # a time of no day
        *[({"from-day": "2026-01-29", "from-time": odd}, "AB") for odd in ("25:00", "\0", "1", "01:00+05:00", "")],
        ({"from-day": "yesterday", "from-time": "01:00"}, "ABCD"),
        ({"from-day": "2026-01-29", "to-day": "2999-01-01", "to-time": "06:00"}, "AB"),  # a shift ends tomorrow
    ],
)
def test_parts_are_found_by_the_hour_in_the_plants_time(plant: Line, asked: dict[str, str], found: str) -> None:
    assert _found(opened("triage", plant.operator, **asked)) == set(found)


@pytest.fixture
def scored(plant: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Frames of which 2 of 6 lie above 0, the threshold that decided, and 4 above -2."""
    monkeypatch.setattr("dashboard.asking.utc_now", lambda: NOW)
    with writing(plant.engine) as conn:
        deployed = plant.deploy(conn, 90)
        rows = [
            plant.inspection(100 + n, event_at=NOW, deployment_id=deployed, severity=severity)
            for n, severity in enumerate((3.0, 3.0, -1.0, -1.0, -4.0, -4.0))
        ]
        trends.add_inspections(conn, rows)
        score_bins.add_inspections(conn, rows, UTC)
    return plant


def _trends(plant: Line, **asked: str) -> AppTest:
    return opened("trends", plant.engineer, product="flange", **asked)


@pytest.mark.parametrize(
    ("asked", "rules", "address"),
    [
        (None, [1, 2], None),
        ("1,2", [1, 2], None),
        ("5,1", [1, 5], "1,5"),
        ("none", [], "none"),
        ("1,99,x", [1], "1"),
        *[(odd, [1, 2], None) for odd in ("99", "", "\0", "1;2", "one", " 3")],
    ],
)
def test_a_link_looks_for_the_same_run_rules(
    scored: Line, asked: str | None, rules: list[int], address: str | None
) -> None:
    page = _trends(scored, **({} if asked is None else {"rules": asked}))
    assert page.multiselect(key="rules").value == rules
    assert page.query_params.get("rules") == address


def test_run_rules_that_are_chosen_stand_in_the_address(scored: Line) -> None:
    page = _trends(scored)
    page.multiselect(key="rules").set_value([6, 3]).run()
    assert page.query_params["rules"] == "3,6"
    page.multiselect(key="rules").set_value([2, 1]).run()
    assert "rules" not in page.query_params


@pytest.mark.parametrize(
    ("asked", "flagged"), [("-2", 4), ("0", 2), ("5.5", 0), *[(odd, 2) for odd in ("nan", "inf", "\0", "x", "")]]
)
def test_a_link_tries_the_same_threshold(scored: Line, asked: str, flagged: int) -> None:
    page = _trends(scored, threshold=asked)
    assert any(one.value.startswith(f"{flagged:,} of 6 frames") for one in page.caption), page.caption


def test_a_sole_product_is_taken_by_itself_and_of_several_one_has_to_be_chosen(scored: Line) -> None:
    page = opened("trends", scored.engineer)
    assert page.number_input(key="threshold") and "product" not in page.query_params
    assert any("of 6 frames would have been flagged" in one.value for one in page.caption)
    with writing(scored.engine) as conn:
        products.add(conn, "bracket", now=NOW)
    page = opened("trends", scored.engineer)
    assert [one.value for one in page.info if one.value.startswith("Choose a product above")]
    assert not page.number_input
    assert not [one for one in _trends(scored).info if "Choose a product" in one.value]


def test_a_point_opens_its_parts_by_keys_too_and_a_choice_that_is_no_more_is_forgotten(scored: Line) -> None:
    page = _trends(scored)
    assert not [one for one in page.markdown if "shown)" in one.value]
    chosen = page.selectbox(key="opened")
    assert chosen.value is None and not page.expander[-1].proto.expanded
    page = chosen.select(chosen.options[0]).run()
    assert not page.exception, page.exception
    assert [one for one in page.markdown if one.value.startswith(f"**{chosen.options[0]}, flagged** (")]
    page = page.selectbox(key="window").select("90 days").run()
    assert not page.exception and page.selectbox(key="opened").value is None


def test_a_threshold_beyond_all_scores_is_one_too(scored: Line) -> None:
    assert any(one.value.startswith("0 of 6 frames") for one in _trends(scored, threshold="1e300").caption)
