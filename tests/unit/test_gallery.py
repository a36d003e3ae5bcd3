"""The parts behind a point of a trend: those that it counts, and the same ones on the page Triage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from agent.service import reviews
from agent.settings import load
from agent.store import stations
from agent.store.buckets import Bucket
from agent.store.engine import writing
from agent.store.scopes import Scope
from dashboard import context
from dashboard.asking import Asked
from tests.databases import NOW, Line
from tests.pages import opened

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 1, 28, 23, tzinfo=UTC)  # midnight in Berlin
NEWER = 30  # flagged parts that wait: more than are shown


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A defect and a false call of each kind in one hour, then parts that wait; others an hour later and elsewhere."""
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    monkeypatch.setattr(context, "settings", lambda: load(None, {"GOODPART_PLANT__TIMEZONE": "Europe/Berlin"}))
    drawn = {"kind": "audit", "verdict": "pass"}
    judged: list[tuple[str, str, dict[str, Any]]] = [
        ("dent", "defect", {}), ("false", "normal", {}), ("drawn-dent", "defect", drawn), ("drawn", "normal", drawn),
        ("drawn-false", "normal", {"kind": "audit", "verdict": "reject"}),
    ]  # fmt: skip
    with writing(here.engine) as conn:
        elsewhere = stations.add(conn, "press-2", now=NOW).id
        ids = [
            here.add_item(conn, n, serial=serial, event_at=START + timedelta(minutes=n), **how).id
            for n, (serial, _, how) in enumerate(judged)
        ]
        for n in range(NEWER):
            here.add_item(conn, 10 + n, serial=f"waits-{n}", event_at=START + timedelta(minutes=30, seconds=n))
        here.add_item(conn, 50, serial="drawn-waits", event_at=START + timedelta(minutes=40), **drawn)
        here.add_item(conn, 51, serial="later", event_at=START + timedelta(hours=1))
        here.add_item(conn, 52, serial="tomorrow", event_at=START + timedelta(hours=24))
        here.add_item(conn, 53, serial="elsewhere", event_at=START, station_id=elsewhere)
    for item_id, (_, decision, _) in zip(ids, judged, strict=True):
        reason = "dent" if decision == "defect" else None
        reviews.decide(here.engine, here.operator, item_id, decision, reason, key=f"{item_id}", now=NOW)
    yield here


def _asked(plant: Line, measure: str, bucket: Bucket) -> Asked:
    return Asked(
        window="24 hours", since=START, until=START + timedelta(days=2), bucket=bucket,
        scope=Scope(plant.product_id, plant.station_id), measure=measure, by="station", zone=BERLIN, shifts=(),
        products={plant.product_id: "flange"}, stations={plant.station_id: "press-1"},
    )  # fmt: skip


def _show(asked, start):  # type: ignore[no-untyped-def]  # Streamlit runs its source alone
    from dashboard import gallery

    gallery.show(asked, start)


def _shown(page: AppTest) -> str:
    return " ".join(one.proto.body for one in page.get("html"))


def _serials(page: AppTest) -> set[str]:
    return set(re.findall(r"serial=([a-z0-9-]+)", _shown(page)))


@pytest.mark.parametrize(
    ("measure", "bucket", "n", "among"),
    [
        ("flagged", "hour", NEWER + 3, {"waits-29"}),
        ("flagged", "day", NEWER + 4, {"later"}),
        ("false calls", "hour", 2, {"false", "drawn-false"}),
        ("defects", "day", 2, {"dent", "drawn-dent"}),
    ],
)
def test_a_point_opens_the_parts_that_it_counts_and_all_of_them_in_triage(
    plant: Line, measure: str, bucket: Bucket, n: int, among: set[str]
) -> None:
    page = AppTest.from_function(
        _show, default_timeout=60, kwargs={"asked": _asked(plant, measure, bucket), "start": START}
    )
    page.session_state["actor"] = plant.operator
    page.run()
    assert not page.exception, page.exception
    shown = _serials(page)
    assert len(shown) == min(n, 24) and among <= shown
    assert f"({len(shown)} of {n} shown)" in page.markdown[0].value
    link = re.search(rf"href='/triage\?([^']+)' target='_self'>All {n} in Triage", _shown(page))
    assert link
    asked = dict(parse_qsl(unescape(link[1])))
    triage = opened("triage", plant.operator, **asked)
    assert any(one.value.startswith(f"{n} parts, the newest first") for one in triage.markdown)
    assert _serials(triage) == shown


def test_a_point_without_a_part_says_so(plant: Line) -> None:
    asked = _asked(plant, "defects", "hour")
    page = AppTest.from_function(
        _show, default_timeout=60, kwargs={"asked": asked, "start": START + timedelta(hours=2)}
    )
    page.session_state["actor"] = plant.operator
    assert page.run().info[0].value.startswith("None is listed") and "triage" not in _shown(page)
