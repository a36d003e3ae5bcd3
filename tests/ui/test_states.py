"""What a page shows where it cannot show what it is for: the database is away, or whoever looks may not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from agent.store.local_blobs import LocalBlobs
from dashboard.pages import VIEWS, views
from tests.databases import Line, line, on
from tests.postgresql import PostgreSQL, postgresql
from tests.ui.plant import seed, serving
from tests.ui.test_accessibility import violations
from tests.ui.walk import PAGES


@pytest.fixture(scope="module")
def stoppable() -> Iterator[PostgreSQL]:
    """A server that nothing else uses."""
    with postgresql() as server, on(server):
        yield server


def test_every_page_says_that_the_database_is_away_and_comes_back(
    page: Page, stoppable: PostgreSQL, tmp_path: Path
) -> None:
    with line(tmp_path) as made:
        seed(made, LocalBlobs(tmp_path / "blobs"))
        with serving(made.engine, tmp_path) as url:
            board = page.context.new_page()
            board.goto(f"{url}/?user=admin")
            expect(board.locator(".tile").first).to_be_visible()
            stoppable.stop()
            for address, _ in PAGES.values():
                page.goto(f"{url}/{address}{'&' if '?' in address else '?'}user=admin")
                expect(page.get_by_text("This page comes back with a reload.")).to_be_visible()
                expect(page.get_by_role("alert").filter(has_text="the database")).to_have_count(1)
                expect(page.locator("[data-testid=stException]")).to_have_count(0)
            assert violations(page) == []
            old = board.get_by_role("alert").filter(has_text="Nothing here is of now")
            expect(old).to_contain_text("the database")
            stoppable.start()
            expect(old).to_have_count(0)
            page.reload()
            expect(page.locator(PAGES["audit"][1]).first).to_be_visible()


def test_a_page_that_a_role_may_not_see_says_whom_it_is_for_and_nothing_else(
    page: Page, here: Line, tmp_path: Path
) -> None:
    with serving(here.engine, tmp_path) as url:
        for user in (here.viewer, here.operator):
            seen = views(user)
            for one in VIEWS:
                if one in seen:
                    continue
                page.goto(f"{url}/{one.path}?user={user.name}")
                expect(page.get_by_role("heading", name=one.title)).to_be_visible()
                expect(page.get_by_text("This page is for")).to_be_visible()
                expect(page.get_by_text(f"{user.name} is {user.role}.")).to_be_visible()
                expect(page.get_by_role("link", name=one.title, exact=True)).to_have_count(0)
                main = page.locator("[data-testid=stMain]")
                expect(main.locator("table, img, input, button, canvas")).to_have_count(0)
