"""Addresses that somebody made up: a page finds nothing for them, as for anything else that is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.settings import Settings
from agent.store import inspections
from agent.store.engine import writing
from dashboard import context
from tests.databases import NOW, Line
from tests.pages import opened

pytestmark = pytest.mark.usefixtures("each_database")
ODD = ("\0", "S1\0")
ASKED = {  # by page: parameters that take a text
    "part": [{"serial": ""}],
    "triage": [{"lot": ""}, {"reason": ""}],
    "trends": [{"lot": ""}],
    "samples": [{name: "", "show": "All samples"} for name in ("serial", "lot", "reason")]
    + [{"reason": "", "show": "Defect bank"}],
    "health": [{"words": ""}],
    "audit": [{"subject": ""}],
}


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A part S1 of lot S1 that waits."""
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    with writing(here.engine) as conn:
        here.add_item(conn, 0, serial="S1", lot="S1")
        inspections.add_all(conn, [here.inspection(0, "review", serial="S1", lot="S1", event_at=NOW)])
    yield here


@pytest.mark.parametrize("page", ASKED)
def test_a_text_that_no_database_holds_is_found_nowhere(plant: Line, page: str) -> None:
    for asked in ASKED[page]:
        for odd in ODD:
            found = opened(page, plant.engineer, **{name: value or odd for name, value in asked.items()})
            assert not found.error, (asked, odd)
            assert "S1" not in " ".join(one.proto.body for one in found.get("html") if "<style" not in one.proto.body)


@pytest.mark.parametrize(
    "key", ["\0", "1-0-0@0001-01-01T00:00:00+14:00", "1-0-99999999999999999999@2026-03-02T10:07:30Z"]
)
def test_an_inspection_that_cannot_be_is_not_known(plant: Line, key: str) -> None:
    found = opened("part", plant.engineer, inspection=key)
    assert not found.exception and not found.error
    assert "No inspection of it is known" in found.warning[0].value
