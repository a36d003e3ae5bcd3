"""A browser, and a dashboard for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from agent.store.local_blobs import LocalBlobs
from tests.databases import line
from tests.ui.plant import Served, seed, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
UNPROVEN = "no Chromium here (Debian: apt-get install chromium): that the pages work in a browser stays unproven"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(UNPROVEN)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 950})
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with line(tmp_path) as made:
        blobs = LocalBlobs(tmp_path / "blobs")
        seed(made, blobs)
        with serving(made.engine, tmp_path) as url:
            yield Served(url, made, blobs)
