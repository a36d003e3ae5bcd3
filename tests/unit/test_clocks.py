"""Single time stamps are told in the viewer's time, and its name stands on the page where it is not the plant's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from agent.service import reviews
from agent.settings import Settings
from agent.store import alerts, epochs, inspections, trends
from agent.store.engine import writing
from dashboard import clocks, context
from tests.databases import NOW, Line
from tests.pages import opened

TOKYO = "Times in Asia/Tokyo; the plant's days and shifts are in Europe/Berlin."


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A plant in Berlin, where a part was judged at 11:07:30."""
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    settings = Settings.model_validate({"plant": {"timezone": "Europe/Berlin"}})
    monkeypatch.setattr(context, "settings", lambda: settings)
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, serial="S1", deployment_id=here.deploy(conn, 50))
        inspections.add_all(conn, [here.inspection(0, "review", serial="S1", event_at=NOW)])
        alerts.raise_(conn, "disk", "host:a", "full", level="error", detail={}, event=False, now=NOW)
    reviews.decide(here.engine, here.operator, item.id, "defect", "dent", key="k", now=NOW)
    yield here


def _said(page: AppTest) -> str:
    texts = [one.value for one in (*page.success, *page.caption, *page.markdown)]
    return " ".join([*texts, *(one.label for one in page.expander), *(one.proto.body for one in page.get("html"))])


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        ("part", {"serial": "S1"}),
        ("samples", {"show": "One sample", "sample": "1"}),
        ("models", {}),
        ("health", {}),
        ("audit", {}),
    ],
)
def test_a_page_tells_the_viewers_time_and_names_its_zone_once(
    plant: Line, monkeypatch: pytest.MonkeyPatch, page: str, asked: dict[str, str]
) -> None:
    said = _said(opened(page, plant.engineer, **asked))
    assert "11:07" in said and "Asia/Tokyo" not in said and "Times in" not in said
    monkeypatch.setattr(ContextProxy, "timezone", "Asia/Tokyo")
    said = _said(opened(page, plant.engineer, **asked))
    assert "19:07" in said and "11:07" not in said
    assert said.count(TOKYO) == 1


def test_what_happened_meanwhile_has_the_charts_time_and_beside_it_the_viewers(
    plant: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.asking.utc_now", lambda: NOW + timedelta(hours=1))
    with writing(plant.engine) as conn:
        trends.add_inspections(conn, [plant.inspection(1, event_at=NOW)])
        epochs.open(conn, plant.product_id, "camera", "a new lens", now=NOW)
    said = _said(opened("trends", plant.engineer))
    assert "11:07</td>" in said and "Your time" not in said
    monkeypatch.setattr(ContextProxy, "timezone", "Asia/Tokyo")
    said = _said(opened("trends", plant.engineer))
    assert "11:07</td>" in said and "19:07</td>" in said and ">Your time</th>" in said
    assert "Your time is that of Asia/Tokyo." in said
    report = _said(opened("shift", plant.engineer, day=f"{NOW:%Y-%m-%d}", shift="06:00"))
    assert "Times in Europe/Berlin" in report and "<td>11:07</td>" in report and "19:07" not in report


@pytest.mark.parametrize("said", [None, "", "Europe/Berlin", "Nowhere/Here", "../x", "/etc/passwd"])
def test_the_plants_time_stands_in_where_the_browser_says_none_that_is_known(
    plant: Line, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    monkeypatch.setattr(ContextProxy, "timezone", said)
    assert clocks.zone().key == "Europe/Berlin"
