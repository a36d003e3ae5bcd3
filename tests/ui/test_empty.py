"""Every page of an installation that has nothing but its first user says what to do next."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from agent.settings import utc_now
from agent.store import users
from agent.store.engine import writing
from tests.ui.plant import serving
from tests.ui.walk import PAGES

NEXT = {
    "line": "There are no stations yet. Add one: goodpart stations add NAME --product PRODUCT",
    "review": "Nothing to review. The queue is empty. Flagged and audited parts come here by themselves.",
    "triage": "No part is like that. Audited parts show here once they are judged.",
    "part": "No inspection of it is known: look at the serial",
    "trends": "Choose a longer window; the page Line says which stations send.",
    "shift": "No frame came in this shift. Choose another one; the page Line says which stations send frames.",
    "teach": "No product is being taught. An engineer begins",
    "samples": "There are no products yet. Add one: goodpart products add NAME",
    "models": "There are no products yet. Add one: goodpart products add NAME",
    "health": "No partition has been read yet. Start an agent: goodpart agent",
    "audit": "Nobody has done that yet.",
}


def test_a_page_without_anything_says_what_to_do_next(page: Page, engine: Engine, tmp_path: Path) -> None:
    assert set(NEXT) == set(PAGES)
    with writing(engine) as conn:
        users.add(conn, "ada", "admin", utc_now())
    with serving(engine, tmp_path) as url:
        page.goto(f"{url}/?user=ada")
        for name, (address, _) in PAGES.items():
            page.goto(f"{url}/{address.partition('?')[0]}?user=ada" + ("&serial=F1" if name == "part" else ""))
            expect(page.get_by_text(NEXT[name]).first).to_be_visible()
            expect(page.locator("[data-testid=stException]")).to_have_count(0)
