"""In another language no word of a page stays English: but for data and Streamlit's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect
from sqlalchemy import Engine

from agent.service import users as service
from agent.settings import utc_now
from agent.store import users
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from agent.store.tables import user
from tests.databases import database, line
from tests.ui import pseudo
from tests.ui.plant import Served, serving
from tests.ui.walk import EMPTY, PAGES, at_rest, opened
from tests.ui.works import fill

MORE = {  # what a page shows otherwise, and to whom
    "all samples": ("samples?product=flange&show=All+samples", "admin", "img"),
    "bank": ("samples?product=flange&show=Defect+bank", "admin", "img"),
    "coverage": ("samples?product=flange&show=Coverage", "admin", "table.line"),
    "sample": ("samples?product=flange&show=One+sample&sample=1", "admin", "table.line"),
    "groups": ("triage?state=open&grouped=true", "operator", ".row"),
    "letter": ("health?letter=1", "engineer", "table.line"),
    "decided": ("audit?decided=flange", "engineer", "table.line"),
    "looking": ("review", "viewer", ".desk[data-ready='1']"),
    "models of operators": ("models?product=flange", "operator", "[data-testid=stMetric]"),
    "samples of operators": ("samples?product=flange", "operator", "img"),
    "teach of operators": ("teach?product=gasket", "operator", "img"),
}
OPENED = "[data-testid=stPopover] button:visible:enabled, [role=combobox]:visible:enabled"
MENU = "[data-testid=stPopoverBody]:visible, [data-testid=stSelectboxVirtualDropdown]:visible, [role=listbox]:visible"
STREAMLITS = re.compile(
    r"\b(App pages|Choose (an option|options|date)|Collapse sidebar|Link to heading|Open|Sidebar|"
    r"Skip to main content|"
    r"Decrement|Increment|Help for|dd|mm|yyyy|day, |month, |year, |HH|hour, |minute, |Clear (all|value)|"
    r"Remove \d|Selected (values|Date).*|"
    r"Copy Vega-Lite spec|Download as (PNG|CSV)|Fullscreen|Show data|Show/hide columns|Search|Vega visualization|"
    r"No results|\d+ options? available\.|Dismiss|Close|Calendar.*|Press Enter to apply|Select all|Loading.*)"
)
DATA = re.compile(
    r"^\{.*\}$|\b[0-9a-f]{12}\b|\bEWMA\b|\b\d+/\d+/\d+, .*[AP]M|\b[a-z_]+\.[a-z_]+\b|^goodpart$|^\+?[\d.]+ [GM]B$"
)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("works")
    with line(folder) as made:
        blobs = LocalBlobs(folder / "blobs")
        fill(made, blobs, utc_now())
        with writing(made.engine) as conn:  # or one could not tell people from their roles
            conn.execute(user.update().values(name="who-" + user.c.name))
        with translated(made.engine, folder) as url:
            yield Served(url, made, blobs)


def translated(engine: Engine, folder: Path) -> serving:
    """Serves it in the pseudo-language."""
    pseudo.write(folder)
    wanted = {"GOODPART_DASHBOARD__LANGUAGE": pseudo.LANGUAGE, "GOODPART_DASHBOARD__WORDS": str(folder)}
    return serving(engine, folder, wanted)


def english(page: Page, data: Sequence[str]) -> set[str]:
    """What is left of a page's texts without translations, data, and Streamlit's own."""
    found = set()
    for text in pseudo.unsaid(page):
        left = DATA.sub("", STREAMLITS.sub("", text))
        for one in data:
            left = left.replace(one, "")
        if pseudo.LETTERS.search(left):
            found.add(text)
    return found


def pressed(page: Page, data: Sequence[str]) -> Iterator[str]:
    """Likewise of what each choice and each button with a menu of its own opens."""
    for closed in page.locator(OPENED).all():
        _open(page, closed)
        yield from english(page, data)
        page.keyboard.press("Escape")
        expect(page.locator(MENU)).to_have_count(0)


@pytest.mark.parametrize("name", [*PAGES, *MORE])
def test_a_page_has_no_word_that_no_translation_reaches(visit: Page, works: Served, name: str) -> None:
    address, role, shown = MORE.get(name) or (PAGES[name][0], "admin", PAGES[name][1])
    opened(visit, works.url, address, f"who-{role}", shown)
    data = pseudo.stored(works.line.engine)
    data += pseudo.named(works.line.engine) if address.startswith("audit") else []
    assert english(visit, data) == set()
    assert set(pressed(visit, data)) == set()


def test_an_empty_page_has_none_either(page: Page, tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with writing(engine) as conn:
            users.add(conn, "ada", "admin", utc_now())
        with translated(engine, tmp_path) as url:
            for name, (address, _) in PAGES.items():
                opened(page, url, address.partition("?")[0], "ada", EMPTY)
                assert english(page, ["ada"]) == set(), name


def test_signing_in_has_none_either(page: Page, tmp_path: Path) -> None:
    with line(tmp_path) as made:
        service.set_password(made.engine, made.admin, "admin", "correct horse", key="w", now=utc_now())
        with translated(made.engine, tmp_path) as url:
            page.goto(url)
            form = page.locator(".door form")
            expect(form).to_be_visible()
            assert english(page, []) == set()
            form.locator("input").first.fill("admin")
            form.locator("input").last.fill("incorrect horse")
            form.locator("button").click()
            expect(page.locator(".door .refused")).not_to_be_empty()
            form.locator("input").last.fill("correct horse")
            form.locator("button").click()
            for own in page.locator("[data-testid=stSidebar] summary").all():
                own.click()
            page.locator(".tile").first.wait_for()
            assert english(page, [*pseudo.stored(made.engine), "admin"]) == set()


def test_the_address_holds_codes_whatever_the_language(page: Page, works: Served) -> None:
    opened(page, works.url, "triage?reason=dent", "who-admin", "img")
    expect(page.locator("html")).to_have_attribute("lang", pseudo.LANGUAGE.replace("_", "-"))
    _choose(page, "State", "closed")
    expect(page).to_have_url(re.compile(r"\bstate=closed\b"))
    page.get_by_role("link", name="⟦Health⟧").click()
    page.get_by_text("⟦Alerts, the newest first⟧").wait_for()
    _choose(page, "Reason", "bad header")
    expect(page).to_have_url(re.compile(r"\breason=bad_header\b"))
    expect(page).not_to_have_url(re.compile(r"\bstate="))
    opened(page, works.url, "health?reason=bad_header&kind=data_gap", "who-admin", "table.line")
    expect(page.get_by_text("⟦bad header⟧").first).to_be_visible()
    assert "kind=data_gap" in page.url
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def _choose(page: Page, label: str, choice: str) -> None:
    option = page.get_by_role("option", name=f"⟦{choice}⟧")
    _open(page, page.get_by_role("combobox", name=f"⟦{label}⟧", exact=True), option)
    option.click()


def _open(page: Page, closed: Locator, wanted: Locator | None = None) -> None:
    """Opens its menu, again where the page is drawn anew meanwhile, which closes it."""
    for _ in range(10):
        at_rest(page)
        closed.click()
        with suppress(TimeoutError):
            (wanted or page.locator(MENU)).first.wait_for(timeout=2000)
            return
        page.keyboard.press("Escape")
    pytest.fail(f"nothing opens: {closed}")
