"""The review desk in a real browser: fast keys, two people at once, undo, zoom, and what an audit item gives away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from agent.settings import utc_now
from agent.store import items, reviews, samples
from agent.store.engine import reading, writing
from agent.store.local_blobs import LocalBlobs
from tests.databases import line
from tests.ui.plant import PARTS, Served, open_items, pictures, seed, serving, until

PRESSES = 60
# What a press fell upon: noted before the desk gets it, since listeners of the window that capture come first.
NOTE = """
    window.pressed = [];
    window.addEventListener("keydown", (event) => {
      const find = (root) => root.querySelector(".desk") ??
        [...root.querySelectorAll("*")].map((one) => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
      const desk = find(document);
      if (desk && event.key === "n" && desk.dataset.ready === "1") window.pressed.push(Number(desk.dataset.item));
    }, true);
"""


def open_desk(page: Page, served: Served, user: str = "operator", more: str = "") -> None:
    page.goto(f"{served.url}/review?user={user}{more}")
    page.locator(".desk[data-ready='1']").wait_for()


def press(page: Page, key: str) -> int:
    """Presses a key once the picture is there; the item that was on screen."""
    desk = page.locator(".desk[data-ready='1']")
    desk.wait_for()
    item = int(desk.get_attribute("data-item") or 0)
    page.keyboard.press(key)
    return item


def saved(page: Page) -> None:
    expect(page.locator(".desk")).to_have_attribute("data-unsaved", "0")


def test_an_operator_approves_a_part_and_sees_its_score_only_then(page: Page, served: Served) -> None:
    open_desk(page, served)
    first = open_items(served.line)[0]
    desk = page.locator(".desk")
    expect(desk).to_have_attribute("data-item", str(first.id))
    expect(page.locator(".desk .count")).to_have_text(f"{PARTS} to review")
    expect(page.locator(".strip .next")).to_have_count(10)
    assert "13.5" not in desk.inner_text(), "the score must stay hidden until the verdict"
    page.keyboard.press("n")
    expect(desk).not_to_have_attribute("data-item", str(first.id))
    until(lambda: served.line.item(first.id).decision == "normal")
    expect(page.locator(".judged")).to_contain_text("score 13.50 · p 0.01 · review")
    expect(page.locator(".judged")).to_contain_text("proposed for training")
    with reading(served.line.engine) as conn:
        (sample,) = samples.all(conn, served.line.product_id, state=None)
    assert (sample.role, sample.state) == ("train", "proposed")


def test_undo_reaches_back_over_ones_verdicts_of_this_shift(page: Page, served: Served) -> None:
    open_desk(page, served)
    first = press(page, "d")
    expect(page.get_by_text("Which defect?")).to_be_visible()
    page.keyboard.press("1")
    second, third = press(page, "n"), press(page, "u")
    until(lambda: served.line.item(third).state == "escalated")
    assert served.line.item(first).reviews[-1].reason == "scratch"
    saved(page)
    page.reload()
    expect(page.locator(".said li")).to_have_count(3)
    page.get_by_role("button", name="Undo scratch of part part-0").click()
    until(lambda: served.line.item(first).state == "open")
    expect(page.locator(".desk")).to_have_attribute("data-item", str(first))
    press(page, "z")
    until(lambda: served.line.item(third).state == "open")
    expect(page.locator(".desk")).to_have_attribute("data-item", str(third))
    expect(page.locator(".said li")).to_have_count(1)
    assert served.line.item(second).decision == "normal"


@pytest.fixture
def long_queue(tmp_path: Path) -> Iterator[Served]:
    with line(tmp_path) as made:
        blobs = LocalBlobs(tmp_path / "blobs")
        seed(made, blobs, PRESSES + 5, **pictures(made.engine, blobs, np.random.default_rng(1)))
        with serving(made.engine, tmp_path) as url:
            yield Served(url, made, blobs)


def test_sixty_fast_presses_are_sixty_verdicts_each_on_the_item_on_screen(page: Page, long_queue: Served) -> None:
    page.add_init_script(NOTE)
    open_desk(page, long_queue)
    for _ in range(PRESSES):
        press(page, "n")
    saved(page)
    on_screen = page.evaluate("window.pressed")
    with reading(long_queue.line.engine) as conn:
        said = {item.id: len(reviews.of_item(conn, item.id)) for item in items.closed(conn, limit=100)}
    assert said == dict.fromkeys(on_screen, 1) and len(said) == PRESSES


def test_keys_that_come_faster_than_pictures_decide_nothing_unseen(page: Page, served: Served) -> None:
    page.add_init_script(NOTE)
    open_desk(page, served)
    for _ in range(2 * PARTS):
        page.keyboard.press("n")
    saved(page)
    on_screen = page.evaluate("window.pressed")
    with reading(served.line.engine) as conn:
        assert {item.id: len(item.reviews) for item in items.closed(conn)} == dict.fromkeys(on_screen, 1)


def test_two_people_at_once_hold_different_items(browser: Browser, served: Served) -> None:
    pages = [browser.new_context().new_page() for _ in range(2)]
    shown: list[set[int]] = [set(), set()]
    for page, user in zip(pages, ("operator", "engineer"), strict=True):
        open_desk(page, served, user)
    for _ in range(PARTS // 2 - 4):
        for page, seen in zip(pages, shown, strict=True):
            seen.add(press(page, "n"))
    for page in pages:
        saved(page)
        page.context.close()
    assert len(shown[0]) == len(shown[1]) == PARTS // 2 - 4 and not shown[0] & shown[1]
    with reading(served.line.engine) as conn:
        assert {item.id: item.reviews[0].user for item in items.closed(conn)} == {
            **dict.fromkeys(shown[0], "operator"), **dict.fromkeys(shown[1], "engineer"),
        }  # fmt: skip


def test_zoom_place_and_view_stay_from_part_to_part(page: Page, served: Served) -> None:
    open_desk(page, served)
    stage = page.locator(".stage")
    for key in ("v", "v", "+", "+", "Shift+ArrowRight", "]", "]"):
        page.keyboard.press(key)
    expect(stage.locator(".layer")).to_have_count(2)
    expect(page.locator(".views .opacity")).to_have_text("80 %")
    looks = [stage.get_attribute("data-zoom"), stage.get_attribute("data-centre")]
    assert looks[0] == "2.25" and looks[1] != "0.500 0.500"
    places = [one.get_attribute("style") for one in stage.locator(".layer").all()]
    assert places[0] == places[1], "both pictures show the same place"
    before = press(page, "n")
    expect(page.locator(".desk")).not_to_have_attribute("data-item", str(before))
    expect(stage.locator(".layer")).to_have_count(2)
    assert [stage.get_attribute("data-zoom"), stage.get_attribute("data-centre")] == looks
    assert [one.get_attribute("style") for one in stage.locator(".layer").all()] == places
    page.keyboard.press("0")
    expect(stage).to_have_attribute("data-zoom", "1.00")
    stage.hover()
    page.mouse.wheel(0, -200)
    expect(stage).not_to_have_attribute("data-zoom", "1.00")
    page.mouse.down()
    page.mouse.move(100, 300)
    page.mouse.up()
    expect(stage).not_to_have_attribute("data-centre", "0.500 0.500")


def test_next_and_back_pass_over_parts_without_a_verdict(page: Page, served: Served) -> None:
    open_desk(page, served)
    first, second = press(page, "ArrowRight"), press(page, "ArrowRight")
    third = press(page, "ArrowLeft")
    assert len({first, second, third}) == 3
    assert press(page, "n") == second
    expect(page.locator(".desk")).to_have_attribute("data-item", str(third))
    assert served.line.item(first).state == "open"


def test_verdicts_wait_in_the_browser_while_the_database_is_away(page: Page, served: Served) -> None:
    open_desk(page, served)
    file = Path(str(served.line.engine.url.database))
    away = file.with_suffix(".away")
    file.rename(away)
    first = press(page, "n")
    expect(page.locator(".trouble")).to_contain_text("kept here and sent again")
    expect(page.locator(".pending")).to_have_text("1 unsaved")
    file.unlink(missing_ok=True)
    away.rename(file)
    until(lambda: served.line.item(first).decision == "normal")
    saved(page)


def test_an_audit_item_is_like_any_other_until_its_verdict(page: Page, served: Served) -> None:
    open_desk(page, served)
    with writing(served.line.engine) as conn:
        flagged, audited = (open_items(served.line)[n].id for n in (0, 1))
        conn.exec_driver_sql(f"UPDATE item SET kind = 'audit', verdict = 'pass', p_value = 0.7 WHERE id = {audited}")
    found: dict[int, Any] = {}
    page.reload()
    for item_id in (flagged, audited):
        page.locator(f".desk[data-ready='1'][data-item='{item_id}']").wait_for()
        found[item_id] = page.locator(".desk .main").inner_html()
        page.keyboard.press("ArrowRight")
    shapes = []
    for item_id, text in found.items():
        item = served.line.item(item_id)
        for own in (item.preview_sha256, item.serial, str(item.id)):
            text = text.replace(str(own), "·")
        shapes.append([part for part in text.split('aria-current="true"')[0].split("<") if "blob" not in part])
    assert shapes[0] == shapes[1]


def test_a_viewer_looks_but_does_not_decide(page: Page, served: Served) -> None:
    open_desk(page, served, "viewer")
    page.keyboard.press("n")
    expect(page.locator("button.normal")).to_be_disabled()
    expect(page.get_by_text("You may look.")).to_be_visible()
    assert len(open_items(served.line)) == PARTS


def test_the_keys_are_shown(page: Page, served: Served) -> None:
    open_desk(page, served)
    assert [one.inner_text() for one in page.locator(".bar kbd").all()] == ["N", "D", "U", "Z", "?"]
    page.keyboard.press("?")
    expect(page.get_by_text("Zoom in, out, whole picture")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Zoom in, out, whole picture")).to_be_hidden()
    assert len(open_items(served.line)) == PARTS, "keys decide nothing behind the list of keys"


def test_an_empty_queue_says_so(page: Page, served: Served) -> None:
    with writing(served.line.engine) as conn:
        for item in items.queue(conn):
            items.set_state(conn, item.id, "closed", expected=["open"], decision="normal", now=utc_now())
    page.goto(f"{served.url}/review?user=operator")
    expect(page.get_by_text("Nothing to review. The queue is empty.")).to_be_visible()
