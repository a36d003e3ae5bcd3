"""A browser, and a dashboard for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from agent.settings import utc_now
from agent.store import items, stations, users
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from tests.databases import line
from tests.parts import missing
from tests.ui.plant import PARTS, Served, parts, seed, serving
from tests.ui.shop import Shop
from tests.ui.works import fill

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first is the lightest
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--js-flags=--no-opt --no-maglev",  # no page lives for long enough to be worth optimising
)
UNPROVEN = "no chromium-headless-shell here (a Debian package): that the pages work in a browser stays unproven"
NUMBERS = count(2)  # of shops


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        missing(UNPROVEN)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = _context(browser)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that keeps Streamlit's scripts from test to test: reading them is most of a page's first visit."""
    context = _context(browser)
    context.set_default_timeout(60_000)  # parts of some pages draw themselves again every few seconds
    yield context
    context.close()


@pytest.fixture
def visit(visitor: BrowserContext) -> Iterator[Page]:
    """Another page of the visitor's."""
    page = visitor.new_page()
    yield page
    page.close()


def _context(browser: Browser) -> BrowserContext:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    return context


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with line(tmp_path) as made:
        blobs = LocalBlobs(tmp_path / "blobs")
        seed(made, blobs)
        with serving(made.engine, tmp_path) as url:
            yield Served(url, made, blobs)


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard of a plant with something on every page."""
    folder = tmp_path_factory.mktemp("works")
    with line(folder) as made:
        blobs = LocalBlobs(folder / "blobs")
        fill(made, blobs, utc_now())
        with serving(made.engine, folder, fresh=True) as url:
            yield Served(url, made, blobs)


@pytest.fixture(scope="module")
def floor(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A dashboard for a module's tests at the desk."""
    folder = tmp_path_factory.mktemp("review")
    with line(folder) as made, serving(made.engine, folder) as url:
        yield Served(url, made, LocalBlobs(folder / "blobs"))


@pytest.fixture
def shop(floor: Served, request: pytest.FixtureRequest) -> Shop:
    """A station with as many parts as the test is parametrized with."""
    number, made, now = next(NUMBERS), floor.line, utc_now()
    with writing(made.engine) as conn:
        station = stations.add(conn, f"press-{number}", product_id=made.product_id, now=now)
        for role in ("viewer", "operator", "engineer"):
            users.add(conn, f"{role}-{number}", role, now)
    new = parts(made, floor.blobs, getattr(request, "param", PARTS), 1000 * number, station_id=station.id)
    with writing(made.engine) as conn:
        items.add_all(conn, new)
    return Shop(floor.url, floor, number, station.id)
