"""axe-core finds nothing serious on any page, whatever somebody has done on it, in either theme; no word is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from agent.service import reviews
from agent.service import users as service
from agent.settings import utc_now
from tests.databases import line
from tests.ui.plant import Served, serving
from tests.ui.walk import PAGES, opened

Act = Callable[[Page, Served], Iterator[str]]
SEVERE = {"serious", "critical"}
AXE = Axe()
EVERY_RULE = {"resultTypes": ["violations"]}
OF_COLOURS = {**EVERY_RULE, "runOnly": ["color-contrast", "link-in-text-block"]}
OTHER: Mapping[str, Literal["light", "dark"]] = {"light": "dark", "dark": "light"}
DRAWN = "() => getComputedStyle(document.querySelector('.stApp')).colorScheme"
STILL = "document.getAnimations().every((one) => !(one instanceof CSSTransition))"  # else colours are half of either
DRAWN_SO = f"scheme => ({DRAWN})() === scheme && {STILL}"
TABLET = 820  # pixels
# What is cut in boxes that do not scroll for it, and labels that stick out of their chart by more than a line's height.
CUT = """() => {
  const boxes = [...document.querySelectorAll("[data-testid=stMain] *")].filter((one) =>
    getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1
    && one.innerText?.trim() && one.checkVisibility() && !one.closest(".wide"));
  const labels = [...document.querySelectorAll("[data-testid=stVegaLiteChart] svg text")].filter((one) => {
    const [mine, whole] = [one, one.closest("[data-testid=stVegaLiteChart]")].map((two) => two.getBoundingClientRect());
    return getComputedStyle(one).opacity !== "0" && (mine.right > whole.right + 6 || mine.left < whole.left - 6);
  });
  return [...boxes, ...labels].map((one) => one.textContent.trim().slice(0, 60));
}"""
MENU = "[data-testid=stPopoverBody]:visible"


def _desk(page: Page, works: Served) -> Iterator[str]:
    """A reason asked for, a verdict with its score, an undo, one that is refused, the keys."""
    desk, status = page.locator(".desk[data-ready='1']"), page.locator(".status")
    page.keyboard.press("d")
    expect(page.get_by_text("Which defect?")).to_be_visible()
    yield "reason"
    page.keyboard.press("1")
    expect(page.locator(".judged .figures")).to_be_visible()
    expect(page.locator(".said li").first).to_be_visible()
    desk.wait_for()
    yield "verdict"
    page.keyboard.press("z")
    expect(page.locator(".judged")).to_contain_text("back in the queue")
    yield "undone"
    desk.wait_for()
    item = int(desk.get_attribute("data-item") or 0)
    with works.line.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM claim")
    reviews.decide(works.line.engine, works.line.engineer, item, "normal", key=f"axe-{item}", now=utc_now())
    page.keyboard.press("n")
    expect(status.locator(".refused")).to_be_visible()
    yield "refused"
    page.keyboard.press("?")
    expect(page.locator("dialog.help")).to_be_visible()
    yield "keys"


def _many(page: Page, works: Served) -> Iterator[str]:
    """Parts ticked, a defect chosen, the second look, what came of it, and the way back."""
    page.get_by_text("Select page").click()
    expect(page.get_by_role("button", name="Judge …")).to_be_enabled()
    page.get_by_role("radio", name="defect").or_(page.get_by_role("button", name="defect", exact=True)).last.click()
    page.get_by_role("combobox", name="because of").wait_for()
    yield "ticked"
    page.get_by_role("button", name="Judge …").click()
    sure = page.get_by_role("dialog").get_by_role("button", name="Judge")
    sure.wait_for()
    yield "second look"
    sure.click()
    back = page.get_by_role("button", name="Undo")
    back.wait_for()
    yield "judged"
    back.click()
    page.get_by_text("as they were").wait_for()
    yield "undone"


def _menus(page: Page, works: Served) -> Iterator[str]:
    """Everything that unfolds, then each button with a menu of its own."""
    for row in page.locator("[data-testid=stExpander] details").all():
        if row.get_attribute("open") is None:
            row.locator("summary").first.click()
    page.wait_for_function("!document.querySelector('[data-testid=stExpander] details:not([open])')")
    yield "unfolded"
    for button in page.locator("[data-testid=stMain] [data-testid=stPopover] button:visible:enabled").all():
        name = button.inner_text()
        button.click()
        page.locator(MENU).first.wait_for()
        yield name
        page.keyboard.press("Escape")
        expect(page.locator(MENU)).to_have_count(0)


def _nothing(page: Page, works: Served) -> Iterator[str]:
    yield from ()


STATES: Mapping[str, tuple[str, str, str, Act]] = {  # address, who looks, what is there once it is drawn, what they do
    "review": ("review", "admin", ".desk[data-ready='1']", _desk),
    "triage": ("triage?state=open", "operator", "img", _many),
    **{name: (*PAGES[name][:1], "admin", PAGES[name][1], _menus)
       for name in PAGES if name not in ("review", "triage")},
    "groups": ("triage?state=open&grouped=true", "operator", ".row", _nothing),
    "letter": ("health?letter=1", "engineer", "table.line", _menus),
    "sample": ("samples?product=flange&show=One+sample&sample=1", "admin", "table.line", _menus),
    "decided": ("audit?decided=flange", "engineer", "table.line", _nothing),
    "looking": ("review", "viewer", ".desk[data-ready='1']", _nothing),
    "not for them": ("audit", "viewer", "[data-testid=stAlert]", _nothing),
    "unknown part": ("part?serial=nobody", "viewer", "[data-testid=stAlert]", _nothing),
    "models of operators": ("models?product=flange", "operator", "[data-testid=stMetric]", _nothing),
}  # fmt: skip


def violations(page: Page, rules: Mapping[str, Any] = EVERY_RULE) -> list[str]:
    """What is serious or critical, with the element; of all elements, Streamlit's own too."""
    report: dict[str, Any] = AXE.run(page, options=dict(rules)).response
    return [
        f"{one['id']} at {node['target']}: {node['html'][:200]}: {node['failureSummary']}"
        for one in report["violations"]
        if one["impact"] in SEVERE
        for node in one["nodes"]
    ]


def _in_either_theme(page: Page) -> Iterator[str]:
    """The one that the page is drawn in, then the other, where only colours are others; the next state begins there."""
    scheme = str(page.evaluate(DRAWN))
    yield from (f"{scheme}: {one}" for one in violations(page))
    page.emulate_media(color_scheme=OTHER[scheme])
    page.wait_for_function(DRAWN_SO, arg=OTHER[scheme])
    yield from (f"{OTHER[scheme]}: {one}" for one in violations(page, OF_COLOURS))


@pytest.mark.parametrize("name", STATES)
def test_no_state_has_a_serious_violation(visit: Page, works: Served, name: str) -> None:
    address, role, shown, act = STATES[name]
    opened(visit, works.url, address, role, shown)
    states = chain(["drawn"], act(visit, works))
    assert [f"{state}, {one}" for state in states for one in _in_either_theme(visit)] == []


@pytest.mark.parametrize("name", PAGES)
def test_no_word_is_cut_on_a_tablet(visit: Page, works: Served, name: str) -> None:
    opened(visit, works.url, PAGES[name][0], "admin", PAGES[name][1])
    visit.set_viewport_size({"width": TABLET, "height": 1100})
    visit.wait_for_function(f"!({CUT})().length")  # charts follow the window's width
    assert visit.evaluate(CUT) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_signing_in_has_no_serious_violation(page: Page, tmp_path: Path, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    with line(tmp_path) as made:
        service.set_password(made.engine, made.admin, "admin", "correct horse", key="w", now=utc_now())
        with serving(made.engine, tmp_path) as url:
            page.goto(url)
            form = page.locator(".door form")
            form.locator("input").first.fill("admin")
            form.locator("input").last.fill("incorrect horse")
            form.locator("button").click()
            expect(page.locator(".door .refused")).not_to_be_empty()
            found = violations(page)
            form.locator("input").last.fill("correct horse")
            form.locator("button").click()
            for own in page.locator("[data-testid=stSidebar] summary").all():
                own.click()
            page.locator(".tile").first.wait_for()
            assert found + violations(page) == []
