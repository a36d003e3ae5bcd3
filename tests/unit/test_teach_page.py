"""The page Teach: what it says in each state, and that engineers act on it where operators only look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from agent.live import NoLive
from agent.service import teach
from agent.settings import Settings
from agent.store import certificates, commands, items, lesson, products, registry, runs, samples, teachings
from agent.store.calibration import Calibrator
from agent.store.engine import reading, writing
from agent.store.lesson import Lesson
from agent.store.tables import calibration_score
from agent.store.teachings import View
from agent.store.users import User
from dashboard import context
from dashboard.calibration import card
from dashboard.parts import PAGE, Card, card_html, cards, pages
from tests.databases import NOW, Line, add_blob, sha

Open = Callable[[User], AppTest]


def _page() -> None:
    from dashboard.views import teach

    teach.show()


@pytest.fixture
def opened(here: Line, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    monkeypatch.setattr(context, "live", NoLive)

    def open_as(user: User) -> AppTest:
        page = AppTest.from_function(_page, default_timeout=30)
        page.session_state["actor"] = user
        return _shown(page.run())

    return open_as


def _shown(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def _taught(here: Line, count: int = 3, *, oddness: bool = True) -> int:
    """The product `disc` with its parts collected; they are as odd as their number."""
    found = teach.start(here.engine, here.engineer, "disc", station="press-1", parts=count, key="s", now=NOW)
    with writing(here.engine) as conn:
        made = [
            here.add_item(conn, n, kind="teach", product_id=found.product_id, serial=f"part-{n}") for n in range(count)
        ]
        teachings.move(conn, found.product_id, "looking", NOW, expected=("collecting",))
        if oddness:
            teachings.record(conn, {one.id: float(n) for n, one in enumerate(made)})
    return found.product_id


def _lesson(here: Line, product_id: int) -> Lesson:
    with reading(here.engine) as conn:
        found = lesson.find(conn, product_id)
    assert found is not None
    return found


def _words(page: AppTest) -> str:
    kinds = (page.info, page.error, page.caption, page.markdown, page.subheader)
    return "\n".join(one.value for kind in kinds for one in kind)


def _keys(page: AppTest) -> set[str]:
    return {str(one.key) for one in page.button}


def test_without_a_teaching_an_engineer_begins_one(here: Line, opened: Open) -> None:
    page = opened(here.engineer)
    assert "No product is being taught" in _words(page)
    assert page.button(key="teach-begin").disabled
    page.text_input(key="teach-name").set_value("disc")
    page.number_input(key="teach-parts").set_value(120)
    _shown(page.run()).button(key="teach-begin").click()
    _shown(page.run())
    with reading(here.engine) as conn:
        found = teachings.find(conn, products.named(conn, "disc").id)
    assert found is not None and (found.parts, found.state, found.by) == (120, "collecting", here.engineer.id)
    assert r"disc from press\-1 · collecting" in _words(page)
    assert "No part has come yet." in _words(page)


def test_a_refused_act_is_one_line(here: Line, opened: Open) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 900)
    page = opened(here.engineer)
    page.text_input(key="teach-name").set_value("flange")
    _shown(page.run()).button(key="teach-begin").click()
    assert "has a model already" in _words(_shown(page.run()))


def test_a_viewer_sees_nothing_and_an_operator_only_looks(here: Line, opened: Open) -> None:
    _taught(here)
    page = opened(here.viewer)
    assert "Operators look at what is being taught here" in _words(page) and not page.selectbox
    page = opened(here.operator)
    assert "3 parts are sorted, the oddest first" in _words(page)
    assert "Engineers take parts out, train and go live here." in _words(page)
    assert _keys(page) == set()


def test_an_engineer_takes_the_oddest_out_and_puts_it_back(here: Line, opened: Open) -> None:
    product_id = _taught(here)
    page = opened(here.engineer)
    ids = [view.item_id for view in _lesson(here, product_id).views]
    assert [key for key in (one.key for one in page.button) if key and "defect" in key] == [
        f"teach-defect-{item_id}" for item_id in ids
    ]
    page.selectbox(key="teach-reason").set_value("dent")
    _shown(page.run()).button(key=f"teach-defect-{ids[0]}").click()
    _shown(page.run())
    assert [(one.part, one.reason) for one in _lesson(here, product_id).left] == [("part-2", "dent")]
    assert here.item(ids[0]).decision == "defect"
    page.button(key=f"teach-undo-{ids[0]}").click()
    _shown(page.run())
    assert _lesson(here, product_id).collected == 3


def test_training_waits_for_the_look_and_its_failure_is_said(here: Line, opened: Open) -> None:
    product_id = _taught(here, oddness=False)
    page = opened(here.engineer)
    assert "an agent looks through them" in _words(page) and "As they came" in _words(page)
    assert page.button(key="teach-train").disabled
    with writing(here.engine) as conn:
        look = commands.add(conn, teachings.LOOK, {"product_id": product_id}, here.engineer.id, NOW)
        commands.next(conn, [teachings.LOOK])
        commands.finish(conn, look, failed=True, result={"problem": "no weights"}, now=NOW)
    page = opened(here.engineer)
    assert "could not be looked through\\: no weights" in _words(page)
    page.button(key="teach-look").click()
    _shown(page.run())
    with reading(here.engine) as conn:
        asked = commands.of_product(conn, teachings.LOOK, product_id)
    assert asked is not None and asked.state == "queued"


def test_train_and_go_live_after_a_look_at_the_calibration_images(here: Line, opened: Open) -> None:
    product_id = _taught(here)
    page = opened(here.engineer)
    page.button(key="teach-train").click()
    assert "an agent was asked to train" in _words(_shown(page.run()))
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=product_id, trigger="teach", settings={}, now=NOW)
        runs.start(conn, run.id, None, NOW)
        runs.progress(conn, run.id, phase="training", step=3, steps=12, now=NOW)
    assert _lesson(here, product_id).words == f"run {run.id}: training 3/12"
    opened(here.operator)
    _trained(here, product_id, run.id)
    page = opened(here.engineer)
    assert "v1 is trained and certified" in _words(page)
    assert "Calibration parts that scored highest" in _words(page) and "by two people: one asks" in _words(page)
    page.text_input(key="teach-why").set_value("looked")
    _shown(page.run()).button(key="teach-promote").click()
    assert "its model is live" in _words(_shown(page.run()))
    with reading(here.engine) as conn:
        live = registry.live(conn, product_id)
    assert live is not None and (live.number, live.by, live.reason) == (1, here.engineer.id, "looked")
    assert not {"teach-promote", "teach-train", "teach-cancel"} & _keys(opened(here.engineer))


def _trained(here: Line, product_id: int, run_id: int) -> None:
    with writing(here.engine) as conn:
        views = teachings.views(conn, product_id)
        version = registry.add_version(
            conn, product_id=product_id, artifact_sha256=add_blob(conn, 900), training_run_id=run_id, teacher="none",
            manifest={}, now=NOW,
        )  # fmt: skip
        for view in views:
            new = samples.NewSample(
                product_id, "calibration", "import", view.frame_sha256, view.frame_sha256, item_id=view.item_id
            )
            made = samples.add(conn, new, NOW)
            conn.execute(sa.insert(calibration_score).values(model_version_id=version.id, sample_id=made.id, score=1.5))
        teachings.close(conn, product_id, "normal", NOW)
        runs.close(conn, run_id, "needs_person", "taught", NOW)


def test_an_engineer_cancels(here: Line, opened: Open) -> None:
    product_id = _taught(here)
    page = opened(here.engineer)
    page.button(key="teach-cancel").click()
    assert "cancelled" in _words(_shown(page.run()))
    assert _lesson(here, product_id).teaching.state == "cancelled"
    assert "teach-train" not in _keys(opened(here.engineer))


def test_many_parts_fill_pages(here: Line, opened: Open) -> None:
    _taught(here, PAGE + 1)
    page = opened(here.engineer)
    assert sum("defect" in key for key in _keys(page)) == PAGE
    page.number_input(key="teach-page").set_value(2)
    assert sum("defect" in key for key in _keys(_shown(page.run()))) == 1


VIEW = View(1, "A", "A", None, NOW.astimezone(UTC), sha(1), None, None, 2.0)


def test_a_card_is_a_part_with_its_frames_in_their_order() -> None:
    views = [
        VIEW,
        View(2, "<b>", None, None, NOW, sha(2), sha(3), sha(4), 1.0),
        View(3, "A", "A", None, NOW, sha(5), None, None, 0.5),
    ]
    assert cards(views) == [
        Card(1, "A", "oddness 2", ((sha(1), sha(1)), (sha(5), sha(5)))),
        Card(2, "<b>", "oddness 1", ((sha(4), sha(3)),)),
    ]
    assert cards([View(9, "A", None, None, NOW + timedelta(1), sha(1), None, None, None)])[0].oddness == ""
    html = card_html(cards(views)[1])
    assert (
        f"href='/blob/{sha(3)}'" in html
        and f"src='/blob/{sha(4)}'" in html
        and "&lt;b&gt;" in html
        and "<b><b>" not in html
    )
    assert [pages(count) for count in (0, PAGE, PAGE + 1)] == [1, 1, 2]


TOP = Calibrator(
    sample_id=7, score=1.23456, frames=1, serial=None, station=None, item_id=None, blob_sha256=sha(1),
    preview_sha256=None, overlay_sha256=None, usable=True,
)  # fmt: skip


def test_a_calibration_part_says_its_sample_its_score_and_where_the_threshold_is() -> None:
    html = card(TOP, 2.0)
    assert "<b>sample 7</b>" in html and ">score 1.235<" in html and f"/blob/{sha(1)}" in html
    assert "taken out" not in html and "threshold" not in html
    part = replace(TOP, serial="<S>", station="press-1", frames=3, usable=False)
    html = card(replace(part, preview_sha256=sha(2), overlay_sha256=sha(3)), 1.0)
    assert "&lt;S&gt;" in html and "<S>" not in html
    assert "sample 7 · score 1.235 · above the threshold · press-1 · the highest of 3 images · taken out" in html
    assert f"/blob/{sha(2)}" in html and f"/blob/{sha(3)}" in html and sha(1) not in html
    assert "· the threshold" in card(TOP, TOP.score)


def test_two_people_take_a_calibration_part_out_and_the_version_is_certified_anew(here: Line, opened: Open) -> None:
    """All of it on the page, but for the arithmetic, which an agent does."""
    product_id = _taught(here)
    with writing(here.engine) as conn:
        teachings.move(conn, product_id, "training", NOW, expected=("looking",))
        run = runs.open(conn, product_id=product_id, trigger="teach", settings={}, now=NOW)
    _trained(here, product_id, run.id)
    with reading(here.engine) as conn:
        (version,) = registry.versions(conn, product_id)
        first = lesson.top_calibration(conn, version.id)[0].sample_id
    with writing(here.engine) as conn:
        record = {"look": 1, "calibration_sha256": "c" * 64, "n": 3, "review_k": 1, "unit": "frame",
                  "review_threshold": None}  # fmt: skip
        certificates.add(conn, version_id=version.id, record=record, now=NOW)
    page = opened(here.operator)
    page.button(key=f"withdraw-{first}").click()
    page = _shown(page.run())
    assert "operator asks to take it out: scratch." in _words(page) and "confirm-1" not in _keys(page)
    page = opened(here.engineer)
    assert "teach-recertify" not in _keys(page)
    page.button(key="confirm-1").click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        assert samples.get(conn, first).role == "defect"
    assert any("taken out of the calibration set since the certificate of v1 (1)" in one.value for one in page.warning)
    page.text_input(key="teach-recertify-why").set_value("a scratch")
    _shown(page.run()).button(key="teach-recertify").click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        asked = commands.of_product(conn, "recertify", product_id)
    assert asked and (asked.state, asked.by, asked.args["reason"]) == ("queued", here.engineer.id, "a scratch")
    assert any("An agent was asked to certify v1 anew." in one.value for one in page.warning)


def test_an_item_of_a_teaching_never_comes_to_the_review_page(here: Line) -> None:
    _taught(here)
    with reading(here.engine) as conn:
        assert items.queue(conn, escalated=True) == [] and items.counts(conn).open == 0
