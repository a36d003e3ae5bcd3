"""The page Part: its address, what it says of what is gone, and what came of decisions made again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from agent.service import reviews
from agent.settings import Settings
from agent.store import inspections, replays
from agent.store.engine import writing
from agent.store.replays import NewReplay
from agent.store.tables import inspection
from dashboard import context
from dashboard.histories import Look, find
from tests.databases import NOW, Line
from tests.pages import opened
from tests.plans import plans_of


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A judged part S1, seen twice: the first view was kept for people and made again."""
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, serial="S1", headers=[("ce_sequence", "41"), ("X-Line", "<script>")])
        rows = [here.inspection(n, "review", serial="S1", event_at=NOW.replace(second=n)) for n in range(2)]
        rows[0] = here.inspection(0, "review", serial="S1", event_at=NOW)
        inspections.add_all(conn, rows)
        again = NewReplay(
            event_at=NOW, stream_id=here.stream_id, partition=0, offset=0, live=False, agreement="different",
            verdict="pass", reason=None, score=0.5, deployment_id=None, engine="torch cpu fp32", by=None, at=NOW,
        )  # fmt: skip
        replays.keep(conn, [again])
    reviews.decide(here.engine, here.operator, item.id, "normal", key="k", now=NOW)
    yield here


def _tables(page: AppTest) -> str:
    return " ".join(one.proto.body for one in page.get("html") if "<table" in one.proto.body)


def test_the_address_that_the_page_prints_opens_what_it_stands_under(plant: Line) -> None:
    page = opened("part", plant.viewer, serial="S1")
    (first, second) = [found[1] for one in page.caption if (found := re.search("Permalink: `(.*)`", one.value))]
    assert first != second
    for address, offset in ((first, 0), (second, 1)):
        parts = urlsplit(address)
        assert (f"{parts.scheme}://{parts.netloc}", parts.path) == (Settings().dashboard.origins[0], "/part")
        again = opened("part", plant.viewer, **dict(parse_qsl(parts.query)))  # as a browser reads it
        assert len(again.expander) == 1
        assert f"stream {plant.stream_id}, partition 0, offset {offset}" in _tables(again)
        assert "<td>S1</td>" in _tables(again) and "<td>flange</td>" in _tables(again)


def test_headers_stand_as_text_and_one_inspection_leads_to_the_whole_part(plant: Line) -> None:
    page = opened("part", plant.viewer, serial="S1")
    assert "<td>ce_sequence</td><td>41</td>" in _tables(page) and "<td>&lt;script&gt;</td>" in _tables(page)
    links = "<a href='/part?serial=S1&amp;user=viewer' target='_self'>S1</a>"
    assert not any(links in one.proto.body for one in page.get("html"))
    (key,) = {found[1] for one in page.caption if (found := re.search("inspection=(.*-0@.*)`", one.value))}
    assert any(links in one.proto.body for one in opened("part", plant.viewer, inspection=key).get("html"))


def test_a_decision_made_again_stands_by_its_inspection(plant: Line) -> None:
    told = _tables(opened("part", plant.viewer, serial="S1"))
    assert "<td>different</td>" in told and "<td>torch cpu fp32</td>" in told


@pytest.mark.usefixtures("each_database")
def test_a_part_of_many_views_takes_as_many_statements_as_one_of_one(here: Line) -> None:
    deciders = (here.operator, here.engineer)
    with writing(here.engine) as conn:
        ids = {}
        for n, serial in enumerate(["S1", *["S9"] * 9]):
            ids[here.add_item(conn, n, serial=serial, event_at=NOW.replace(second=n)).id] = serial
            inspections.add_all(conn, [here.inspection(n, "review", serial=serial, event_at=NOW.replace(second=n))])
            made = [
                NewReplay(
                    event_at=NOW.replace(second=n), stream_id=here.stream_id, partition=0, offset=n, live=live,
                    agreement="identical", verdict="review", reason=None, score=float(n), deployment_id=None,
                    engine=None, by=None, at=NOW,
                )
                for live in (False, True)
            ]  # fmt: skip
            replays.keep(conn, made)
    for n, one in enumerate(ids):
        reviews.decide(here.engine, deciders[n % 2], one, "defect", "dent", key=f"k{one}", now=NOW)
    counted = {}
    for serial, views in (("S1", 1), ("S9", 9)):
        looks = list[Look]()
        counted[serial] = len(plans_of(here.engine, lambda conn: looks.extend(find(conn, serial=serial))))  # noqa: B023
        assert [len(look.replays) for look in looks] == [2] * views
        assert [[one.score for one in look.replays] for look in looks] == [
            [float(look.frame.offset)] * 2 for look in looks
        ]
        assert [[one.item_id for one in look.samples] for look in looks] == [
            [look.item.id] for look in looks if look.item
        ]
    assert counted["S9"] == counted["S1"]


def test_the_page_says_what_is_gone(plant: Line) -> None:
    assert not any("Inspections stay for" in one.value for one in opened("part", plant.viewer, serial="S1").caption)
    with writing(plant.engine) as conn:
        conn.execute(sa.delete(inspection))
    page = opened("part", plant.viewer, serial="S1")
    assert len(page.expander) == 1 and "<td>operator</td>" in _tables(page)
    assert any("Inspections stay for 90 days" in one.value for one in page.caption)
    assert "<td>no longer kept</td>" in _tables(page)
