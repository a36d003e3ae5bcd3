"""What one sees and types at the review desk: any keyboard's brackets and digits, and heatmaps that fail."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from tests.ui.plant import until
from tests.ui.shop import Shop, press, saved

# Whether the desk took the key, which is then not the browser's.
TYPE = """([key, code, held]) => !document.dispatchEvent(new KeyboardEvent("keydown", {
    key, code, cancelable: true, ...Object.fromEntries(held.map((one) => [one, true])),
}))"""
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
    assert typed(page, "End", "Numpad1"), "without Num Lock"
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
