"""The page Triage, grouped: rows of parts that look alike, and what selecting one selects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from agent.service import bulk, reviews
from agent.settings import Settings, load
from agent.store import item_vectors, items, samples
from agent.store.engine import reading, writing
from agent.store.users import User
from dashboard import context, judging
from dashboard.views import triage
from tests.databases import NOW, Line
from tests.vectors import spot

LEFT, RIGHT = spot(2, 2), spot(12, 12)


def _page() -> None:
    from dashboard.views import triage

    triage.show()


def _asking(user, ids):  # type: ignore[no-untyped-def]  # Streamlit runs its source alone
    """What the button opens."""
    from dashboard import judging

    judging._confirm(user, ids, "normal", None, "key")


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Parts S0 .. S7: three hot on the left, two on the right, one elsewhere, one without a vector, an audited one."""
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    vectors = {0: LEFT, 1: RIGHT, 2: LEFT, 3: RIGHT, 4: LEFT, 5: spot(7, 2), 7: LEFT}
    with writing(here.engine) as conn:
        for n in range(8):
            kind = {"kind": "audit", "verdict": "pass"} if n == 7 else {}
            here.add_item(conn, n, serial=f"S{n}", event_at=NOW, **kind)
        item_vectors.add_all(conn, here.stream_id, 0, vectors)
    yield here


def _open(user: User, **asked: str) -> AppTest:
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["actor"] = user
    for name, value in {"grouped": "true", **asked}.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception
    return page


def _rows(page: AppTest) -> list[str]:
    return [one.value for one in page.markdown if one.value.startswith("**")]


def _serials(page: AppTest) -> list[list[str]]:
    """Of each row."""
    rows = [one.proto.body for one in page.get("html") if "class='row'" in one.proto.body]
    return [re.findall(r">(S\d)</a>", one) for one in rows]


def test_the_largest_group_comes_first_and_no_unjudged_audit_item_is_in_any(plant: Line) -> None:
    page = _open(plant.operator)
    assert _rows(page) == [
        r"**3 alike** · flange · press\-1", r"**2 alike** · flange · press\-1", "**1 like no other**",
        "**1 not comparable: no model scored them**",
    ]  # fmt: skip
    assert _serials(page) == [["S0", "S2", "S4"], ["S1", "S3"], ["S5"], ["S6"]]
    assert [one.label for one in page.checkbox] == ["Select this group (3)", "Select this group (2)"]
    assert page.caption[0].value.startswith("2 groups of parts that look alike")


def test_selecting_a_group_selects_its_parts_and_no_others(plant: Line) -> None:
    page = _open(plant.operator)
    judge = next(one for one in page.button if one.label == "Judge …")
    assert judge.disabled
    page.checkbox[1].check().run()
    judge = next(one for one in page.button if one.label == "Judge …")
    assert not judge.disabled
    judge.click().run()
    assert "2 parts as **normal**" in " ".join(one.value for one in page.markdown)


def _said(page: AppTest) -> str:
    return " ".join(one.value for one in page.markdown)


def _judge(page: AppTest) -> Any:
    return next(one for one in page.button if one.label == "Judge …")


def test_a_group_that_grows_keeps_those_that_were_ticked(plant: Line) -> None:
    page = _open(plant.operator)
    page.checkbox[0].check().run()
    with writing(plant.engine) as conn:
        plant.add_item(conn, 8, serial="S8", event_at=NOW)
        item_vectors.add_all(conn, plant.stream_id, 0, {8: LEFT})
    page.run()
    assert "3 ticked; 8 that match and are open." in _said(page)
    assert [(one.label, one.value) for one in page.checkbox] == [
        ("Select this group (4, 3 of them ticked)", False), ("Select this group (2)", False),
    ]  # fmt: skip
    _judge(page).click().run()
    assert "3 parts as **normal**" in _said(page)
    page.checkbox[0].check().run()
    assert "4 ticked" in _said(page)
    page.checkbox[0].uncheck().run()
    assert "0 ticked" in _said(page) and _judge(page).disabled


def test_judging_many_proposes_no_part_that_is_drawn_for_the_audit(
    plant: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "settings", lambda: load(None, {"GOODPART_AUDIT__RATE": "1"}))
    with reading(plant.engine) as conn:
        ids = [one.id for one in items.some(conn, range(100)) if one.serial in ("S1", "S3")]
    page = AppTest.from_function(_asking, kwargs={"user": plant.operator, "ids": ids}).run()
    page.button(key="judge-them").click().run()
    assert not page.exception, page.exception
    with reading(plant.engine) as conn:
        assert [one.serial for one in items.some(conn, range(100)) if one.decision == "normal"] == ["S1", "S3"]
        assert samples.all(conn, plant.product_id, state=None) == []


def test_newer_parts_push_no_tick_off_the_page(plant: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage, "PAGE", 2)
    page = _open(plant.operator, grouped="false")
    page.checkbox[1].check().run()
    with writing(plant.engine) as conn:
        pushed = plant.add_item(conn, 8, serial="S8", event_at=NOW + timedelta(minutes=1))
    page.run()
    assert "1 ticked; 8 that match and are open." in _said(page)
    assert [one.value for one in page.checkbox] == [False, False]
    next(one for one in page.button if one.label == "Select page").click().run()
    assert "3 ticked" in _said(page) and [one.value for one in page.checkbox] == [True, True]
    reviews.decide(plant.engine, plant.operator, pushed.id, "normal", key="k", now=NOW)
    page.run()
    assert "2 ticked; 7 that match" in _said(page), "it is closed"
    next(one for one in page.button if one.label == "Select none").click().run()
    assert _judge(page).disabled


def test_what_was_judged_anew_is_named_and_stays_where_the_rest_is_taken_back(plant: Line) -> None:
    with reading(plant.engine) as conn:
        ids = [one.id for one in items.some(conn, range(100)) if one.serial in ("S0", "S1")]
    asked = (plant.engine, plant.operator)
    made = bulk.decide(*asked, ids, "normal", key="k", now=NOW).reviews
    reviews.undo(*asked, ids[0], key="u", now=NOW)
    reviews.decide(*asked, ids[0], "defect", "dent", key="d", now=NOW)
    page = _open(plant.operator)
    page.session_state[f"bulk-{plant.operator.id}"] = judging.Last("2", "Not judged", (), made, "k:back")
    page.run()
    next(one for one in page.button if one.label == "Undo").click().run()
    page.run()
    assert [one.value for one in page.success] == ["1 parts are as they were\\."]
    assert len(page.warning) == 1 and "judged again since" in page.warning[0].value
    assert "Undo" not in [one.label for one in page.button]
    assert [plant.item(one).decision for one in ids] == ["defect", None]


def test_what_is_closed_is_grouped_but_not_selected(plant: Line) -> None:
    with reading(plant.engine) as conn:
        ids = {one.serial: one.id for one in items.some(conn, range(100))}
    for serial in ("S1", "S2", "S3", "S7"):
        reviews.decide(plant.engine, plant.operator, ids[serial], "defect", "dent", key=serial, now=NOW)
    page = _open(plant.operator)
    assert _rows(page)[:2] == [r"**4 alike** · flange · press\-1", r"**2 alike** · flange · press\-1"]
    assert [one.label for one in page.checkbox] == ["Select this group (2)"]
    assert len(_open(plant.viewer).checkbox) == 0


def test_the_switch_stands_in_the_address_and_off_is_the_plain_grid(plant: Line) -> None:
    page = _open(plant.operator, grouped="false")
    assert _rows(page) == [] and len(page.checkbox) == 7
