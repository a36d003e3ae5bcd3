"""What one sees and types at the review desk: keys of any keyboard, heatmaps that fail, each view, a score, fingers."""

from __future__ import annotations

import re
from datetime import UTC
from math import log, sqrt
from typing import Any

import cv2
import numpy as np
import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, Route, expect

from agent.settings import utc_now
from agent.store import certificates, registry, score_bins
from agent.store.engine import writing
from agent.store.tables import item
from model.certificate import certify
from tests.databases import add_blob
from tests.ui.plant import until
from tests.ui.shop import Shop, press, saved

# Whether the desk took the key, which is then not the browser's.
TYPE = """([key, code, held]) => !document.dispatchEvent(new KeyboardEvent("keydown", {
    key, code, cancelable: true, ...Object.fromEntries(held.map((one) => [one, true])),
}))"""
# Where a canvas is not transparent, as shares of it: the box around all that, and the lines that cross a row.
OUTLINE = """(canvas, row) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    const full = (x, y) => data[4 * (y * width + x) + 3] > 0;
    let [left, top, right, bottom] = [width, height, 0, 0];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (full(x, y)) {
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), y];
    }
    const y = Math.round(row * height);
    const across = Array.from({ length: width }, (_, x) => x).filter((x) => full(x, y) && !full(x - 1, y));
    return { box: [left / width, top / height, right / width, bottom / height], across: across.map((x) => x / width) };
}"""
SIDE, SPREAD, PEAK = 64, 6.0, (0.75, 0.25)  # of a heatmap, in its pixels; where it is hottest, as shares
WIDE, NARROW = (SPREAD / SIDE * sqrt(2 * log(1 / level)) for level in (0.5, 0.75))  # radii of its outlines
CTRL, ALT, META, ALT_GRAPH = "ctrlKey", "altKey", "metaKey", "modifierAltGraph"


def typed(page: Page, key: str, code: str, *held: str) -> bool:
    """Types a key as a browser tells it, whatever the layout; whether the desk took it."""
    return bool(page.evaluate(TYPE, [key, code, held]))


def test_brackets_and_reasons_can_be_typed_on_any_layout_and_shortcuts_are_left_to_the_browser(
    page: Page, shop: Shop
) -> None:
    shop.open(page)
    opacity = page.locator(".views .opacity")
    expect(opacity).to_have_text("60 %")
    assert typed(page, "]", "Digit9", CTRL, ALT, ALT_GRAPH), "German, Windows"
    expect(opacity).to_have_text("70 %")
    assert typed(page, "]", "Digit9", ALT_GRAPH), "German, Linux"
    assert typed(page, "]", "Digit6", ALT), "German, Mac"
    expect(opacity).to_have_text("90 %")
    assert typed(page, "[", "Digit8", CTRL, ALT, ALT_GRAPH)
    expect(opacity).to_have_text("80 %")
    stage = page.locator(".stage")
    press(page, "+")
    zoomed = stage.get_attribute("data-zoom")
    assert not typed(page, "à", "Digit0", CTRL) and not typed(page, ")", "Digit0", "shiftKey")
    assert typed(page, "-", "Digit6"), "AZERTY: smaller, whichever digit the key has above"
    expect(stage).to_have_attribute("data-zoom", "1.00")
    press(page, "+")
    expect(stage).to_have_attribute("data-zoom", str(zoomed))
    assert typed(page, "à", "Digit0"), "AZERTY: whole again"
    expect(stage).to_have_attribute("data-zoom", "1.00")
    shortcuts: list[tuple[str, ...]] = [
        ("[", "BracketLeft", META), ("]", "BracketRight", CTRL), ("n", "KeyN", CTRL), ("d", "KeyD", ALT),
        ("[", "Digit5", META, ALT), ("[", "BracketLeft", CTRL, ALT), ("n", "KeyN", CTRL, ALT, ALT_GRAPH),
    ]  # fmt: skip
    for one in shortcuts:
        assert not typed(page, *one), one
    first, second = press(page, "d"), shop.queue()[1].id
    expect(page.get_by_text("Which defect?")).to_be_visible()
    assert not typed(page, "&", "Digit1", CTRL)
    assert not typed(page, "!", "Digit1", "shiftKey"), "where digits are not under Shift"
    assert typed(page, "é", "Digit2"), "AZERTY"
    expect(page.locator(".desk")).to_have_attribute("data-item", str(second))
    press(page, "d")
    assert not typed(page, "End", "Numpad1"), "an arrow key without Num Lock"
    press(page, "1")
    until(lambda: shop.item(second).decision == "defect")
    assert [shop.item(one).reviews[-1].reason for one in (first, second)] == ["dent", "scratch"]


def test_a_frame_says_that_its_heatmap_is_still_loading_or_cannot_be_loaded(page: Page, shop: Shop) -> None:
    first, second, third = (one.id for one in shop.queue()[:3])
    late: list[Route] = []
    page.route("**/heatmap/*", lambda route: route.fulfill(status=503, body="the database is away"))
    shop.open(page)
    desk, caption, heat = page.locator(".desk"), page.locator(".stage figcaption"), page.locator(".stage canvas")
    expect(caption).to_have_text("Frame · its heatmap cannot be loaded")
    page.keyboard.press("n")
    expect(desk).to_have_attribute("data-item", str(second))
    page.unroute("**/heatmap/*")
    page.route("**/heatmap/*", lambda route: late.append(route))
    press(page, "ArrowRight")  # what failed ahead is fetched anew as it comes on screen
    expect(desk).to_have_attribute("data-item", str(third))
    expect(caption).to_have_text("Frame · its heatmap is still loading")
    expect(heat).to_have_count(0)
    for route in late:
        route.continue_()
    page.unroute("**/heatmap/*")
    expect(caption).to_have_text("Overlay")
    expect(heat).to_have_count(1)
    press(page, "ArrowLeft")
    expect(desk).to_have_attribute("data-item", str(second))
    expect(caption).to_have_text("Overlay")
    saved(page)
    assert shop.item(first).decision == "normal", "the frame was seen"


@pytest.mark.parametrize("shop", [2], indirect=True)
def test_each_view_shows_what_it_says_and_a_verdict_its_score_among_others(page: Page, shop: Shop) -> None:
    certified(shop)
    page.route("**/heatmap/*", lambda route: route.fulfill(body=blob(), content_type="image/png"))
    shop.open(page)
    captions, heat = page.locator(".stage figcaption"), page.locator(".stage canvas")
    expect(captions).to_have_text(["Overlay"])
    expect(heat).to_have_css("opacity", "0.6")
    page.keyboard.press("v")
    expect(captions).to_have_text(["Contour"])
    expect(page.locator(".stage [role=img]")).to_have_attribute(
        "aria-label", re.compile("with the outline of its heatm")
    )
    drawn = heat.evaluate(OUTLINE, PEAK[1])
    assert drawn["box"] == pytest.approx([PEAK[0] - WIDE, PEAK[1] - WIDE, PEAK[0] + WIDE, PEAK[1] + WIDE], abs=0.01)
    lines = [PEAK[0] + side for side in (-WIDE, -NARROW, NARROW, WIDE)]
    assert drawn["across"] == pytest.approx(lines, abs=0.01), "two levels, and nothing else"
    page.keyboard.press("v")
    expect(captions).to_have_text(["Frame", "Overlay"])
    page.keyboard.press("v")
    expect(captions).to_have_text(["Flicker"])
    expect(heat).to_have_css("animation-name", "flicker")
    assert heat.evaluate("one => one.getAnimations().length") == 1, "its keyframes are there"
    expect(heat).to_have_css("animation-duration", "0.8s")
    page.emulate_media(reduced_motion="reduce")
    expect(heat).to_have_css("animation-duration", "3s")
    page.keyboard.press("v")
    expect(captions).to_have_text(["Frame"])
    expect(heat).to_have_count(0)
    page.keyboard.press("v")
    expect(captions).to_have_text(["Overlay"])
    press(page, "n")
    chart = page.locator(".judged svg")
    expect(chart).to_have_attribute("role", "img")
    words = "Score 0.98 among 40 scores of this station; review above 0.96, reject above 0.99"
    expect(chart).to_have_attribute("aria-label", words)
    expect(chart.locator("text")).to_have_text(["review 0.96", "reject 0.99", "this part 0.98"])
    review, reject, own = (float(one.get_attribute("x1") or 0) for one in chart.locator("line.limit, line.here").all())
    assert 0 < review < own < reject < 280, "a score between the two"
    expect(chart.locator("rect.count")).to_have_count(4)


@pytest.mark.parametrize("shop", [1], indirect=True)
def test_two_fingers_zoom_and_move_the_picture_and_one_scrolls_the_page_past_a_whole_one(
    page: Page, shop: Shop
) -> None:
    shop.open(page)
    stage = page.locator(".stage")
    box = stage.locator(".pane").bounding_box()
    assert box is not None
    right, down, wide = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"]
    fingers = page.context.new_cdp_session(page)
    fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(kind: str, *places: float) -> None:
        points = [{"x": right + one, "y": down, "id": n} for n, one in enumerate(places)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def centre(moved: float, zoom: float) -> str:
        return f"{0.5 - moved / wide / zoom:.3f} 0.500"

    expect(stage).to_have_css("touch-action", "pan-y")
    touch("touchStart", -50)
    touch("touchStart", -50, 50)
    touch("touchMove", -100, 100)
    expect(stage).to_have_attribute("data-zoom", "2.00")
    expect(stage).to_have_attribute("data-centre", centre(0, 2))
    expect(stage).to_have_css("touch-action", "none")
    touch("touchMove", -60, 140)
    expect(stage).to_have_attribute("data-centre", centre(40, 2))
    touch("touchEnd")
    expect(stage).not_to_have_class(re.compile("grabbed"))
    touch("touchStart", 0)
    touch("touchMove", -70)
    expect(stage).to_have_attribute("data-centre", centre(-30, 2))
    expect(stage).to_have_attribute("data-zoom", "2.00")
    touch("touchEnd")
    page.keyboard.press("0")
    expect(stage).to_have_css("touch-action", "pan-y")


def certified(shop: Shop) -> None:
    """The station's first part is of a certified model, which has scored others there."""
    made, now, first = shop.served.line, utc_now(), shop.queue()[0]
    record = certify(
        [n / 2000 for n in range(2000)], artifact_sha256="a", calibration_sha256="c", fingerprint="f",
        review_rate=0.05, reject_rate=0.01, confidence=0.95,
    ).to_dict()  # fmt: skip
    with writing(made.engine) as conn:
        version = registry.add_version(
            conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 900), teacher="none", manifest={}, now=now
        ).id
        certificate = certificates.add(conn, version_id=version, record=record, now=now)
        decides = registry.promote(
            conn, version_id=version, certificate_id=certificate, config_hash="0" * 64, reason="test", by=None, now=now
        ).id
        conn.execute(sa.update(item).where(item.c.id == first.id).values(deployment_id=decides, score=0.98))
        where: dict[str, Any] = {"station_id": shop.station_id, "deployment_id": decides, "event_at": now}
        rows = [made.inspection(n, severity=(-3.0, -2.0, -1.0, 0.5)[n % 4], **where) for n in range(40)]
        score_bins.add_inspections(conn, rows, UTC)


def blob() -> bytes:
    """A heatmap with one round peak, as the browser gets it."""
    down, right = np.mgrid[:SIDE, :SIDE]
    far = (right + 0.5 - SIDE * PEAK[0]) ** 2 + (down + 0.5 - SIDE * PEAK[1]) ** 2
    return cv2.imencode(".png", np.rint(255 * np.exp(-far / (2 * SPREAD**2))).astype(np.uint8))[1].tobytes()
