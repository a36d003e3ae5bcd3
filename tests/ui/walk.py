"""Opens every page and takes its picture, light and dark, wide and narrow: `python -m tests.ui.walk FOLDER`.

The plant is `tests.ui.works`: the demo's product at several stations, with a month behind them, and an agent that says
that it lives. `--demo` walks through the demo itself instead, which trains first (`tests.ui.demonstrated`), `--empty`
through an installation that has nothing but its first user. `--stations N` chooses how many the Line page has, `--docs`
takes what the documents show: FOLDER/PAGE.png of each page, light and wide.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from agent.demo.redis import RedisServer
from agent.settings import Plant, utc_now
from agent.store import users
from agent.store.buckets import cutter, quarter
from agent.store.engine import writing
from agent.store.local_blobs import LocalBlobs
from tests.databases import database, line
from tests.ui.conftest import CHROMIUM, FLAGS, UNPROVEN
from tests.ui.demonstrated import USER, demonstrated
from tests.ui.plant import serving
from tests.ui.wall import hung
from tests.ui.works import fill


def _last_shift() -> str:
    """The one before the present one, which may just have begun."""
    start = cutter("shift", UTC, Plant().shifts)(quarter(utc_now() - timedelta(hours=8)))
    return f"shift?day={start:%Y-%m-%d}&shift={start:%H:%M}"


# Each page's address, and what is there once it is drawn.
PAGES: Mapping[str, tuple[str, str]] = {
    "line": ("", ".tile"),
    "review": ("review", ".desk[data-ready='1']"),
    "triage": ("triage", "img"),
    "part": ("part?serial=F2602", "img"),
    "trends": ("trends?window=30+days&product=flange", "[data-testid=stVegaLiteChart] svg"),
    "shift": (_last_shift(), "table.line"),
    "teach": ("teach?product=gasket", "img"),
    "samples": ("samples?product=flange", "table.line, img"),
    "models": ("models?product=flange", "[data-testid=stMetric]"),
    "health": ("health", "table.line"),
    "audit": ("audit", "table.line"),
}
# The demo has no month behind it, and teaches no product; its parts have names of their own.
DEMO = {
    "part": ("part?serial={serial}", "img"),
    "trends": ("trends?product=flange", PAGES["trends"][1]),
    "shift": ("shift", "[data-testid=stAlert], table.line"),
    "teach": ("teach?product=flange", "[data-testid=stAlert], table.line, img"),
}
EMPTY = ".desk, [data-testid=stAlert], table.line"
SCHEMES: Sequence[Literal["light", "dark"]] = ("light", "dark")
WIDTHS = (1280, 820)
TALLEST = 3200
TRIES = 5  # what is as tall as the window allows grows with it
COLOURS = 256  # of a picture in the documents: a third of the bytes
PATIENCE_MS = 120_000
REDIS = "GOODPART_REDIS__URL"
SHADOWED = {"GOODPART_SHADOW__SHARE": "0.2"}  # as the plant's own shadow was drawn


def main() -> None:
    """Walks, and says where the pictures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.ui.walk", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument("--as", dest="user", help="who looks: admin, engineer, operator or viewer; of the demo ada")
    parser.add_argument("--stations", type=int, default=6)
    parser.add_argument("--empty", action="store_true")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    user = options.user or (USER if options.demo else "admin")
    if CHROMIUM is None:
        parser.error(UNPROVEN)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        take = partial(walk, browser, folder=options.folder, names=options.only, user=user, docs=options.docs)
        if options.empty:
            with database(Path(name)) as engine:
                with writing(engine) as conn:
                    users.add(conn, user, user, utc_now())
                with serving(engine, Path(name)) as url:
                    take(url, {one: (address, EMPTY) for one, (address, _) in PAGES.items()})
        elif options.demo:
            with demonstrated(Path(name)) as (url, serial):
                pages = {**PAGES, **DEMO}
                take(url, {one: (address.format(serial=serial), shown) for one, (address, shown) in pages.items()})
        else:
            with line(Path(name)) as made, RedisServer(Path(name)) as redis:
                fill(made, LocalBlobs(Path(name) / "blobs"), utc_now(), options.stations)
                with (
                    hung(made.engine, redis.url),
                    serving(made.engine, Path(name), {REDIS: redis.url, **SHADOWED}) as url,
                ):
                    take(url, PAGES)
        browser.close()


def walk(
    browser: Browser,
    url: str,
    pages: Mapping[str, tuple[str, str]],
    *,
    folder: Path,
    names: Sequence[str],
    user: str,
    docs: bool,
) -> None:
    """Takes the pictures of these pages: FOLDER/PAGE-SCHEME-WIDTH.png, or with `docs` one of each: FOLDER/PAGE.png."""
    contexts = {scheme: browser.new_context(color_scheme=scheme) for scheme in (SCHEMES[:1] if docs else SCHEMES)}
    for name in names:
        address, shown = pages[name]
        for scheme, context in contexts.items():
            context.set_default_timeout(PATIENCE_MS)
            page = context.new_page()
            opened(page, url, address, user, shown)
            for width in WIDTHS[:1] if docs else WIDTHS:
                target = folder / (f"{name}.png" if docs else f"{name}-{scheme}-{width}.png")
                taken(page, target, width)
                if docs:
                    with Image.open(target) as picture:
                        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
                print(target, flush=True)
            page.close()
    for context in contexts.values():
        context.close()


def opened(page: Page, url: str, address: str, user: str, shown: str) -> None:
    """Opens a page and waits until it is drawn and its pictures are there."""
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    page.goto(f"{url}/{address}{'&' if '?' in address else '?'}user={user}")
    page.locator(shown).first.wait_for()
    at_rest(page)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    page.wait_for_load_state("networkidle")
    expect(page.locator("figure:visible img:not([src])")).to_have_count(0)


def at_rest(page: Page) -> None:
    """Waits until the page is drawn: a click before that may find nothing, or another one, where it was aimed.

    When the script has ended some elements may still be grey boxes that wait for their code; of several that are alike
    the second is then the first that is there.
    """
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")


def taken(page: Page, target: Path, width: int) -> None:
    """The whole page: Streamlit scrolls within the window, so the window is made as tall as what it shows."""
    page.set_viewport_size({"width": width, "height": 900})
    for _ in range(TRIES):
        at_rest(page)
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        tall = int(page.locator("[data-testid=stMain]").evaluate("one => one.scrollHeight"))
        fitting: ViewportSize = {"width": width, "height": min(TALLEST, max(900, tall))}
        if page.viewport_size == fitting:
            break
        page.set_viewport_size(fitting)
    page.screenshot(path=target)


if __name__ == "__main__":
    main()
