"""From key press to the next part painted, with 200,000 open items and two operators: `python -m bench.desk`.

Two browsers press N in turn as soon as a part's picture is there. The browser's clock runs from the key's event to the
second frame after the next part is drawn with its picture; what the pages wait for in between is not waited out here.
Before, each browser opens the page twice, and tells when it drew anything at all and when a part was there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import numpy as np
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, sync_playwright

from agent.settings import utc_now
from agent.store import users
from agent.store.engine import reading, writing
from agent.store.item_search import Wanted, search
from agent.store.local_blobs import LocalBlobs
from agent.store.rows import values
from agent.store.tables import item, item_vector, sample
from dashboard.normals import MOST
from tests import databases
from tests.databases import Line, line
from tests.postgresql import postgresql
from tests.ui.conftest import CHROMIUM, FLAGS
from tests.ui.plant import pictures, serving
from tests.vectors import spot

FEATURES = 256  # of resnet18
WATCH = """
    const find = (root) => root.querySelector(".desk") ??
      [...root.querySelectorAll("*")].map((one) => one.shadowRoot && find(one.shadowRoot)).find(Boolean);
    const wait = () => document.body && find(document)?.dataset.ready === "1"
      ? window.shown = performance.now() : requestAnimationFrame(wait);
    requestAnimationFrame(wait);
    window.taken = [];
    window.addEventListener("keydown", (event) => {
      if (event.key !== "n") return;
      const [desk, began] = [find(document), performance.now()];
      const item = desk.dataset.item;
      const look = () => desk.dataset.item !== item && desk.dataset.ready === "1"
        ? requestAnimationFrame(() => window.taken.push(performance.now() - began)) : requestAnimationFrame(look);
      requestAnimationFrame(look);
    }, true);
"""
PAINTED = """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime, window.shown]"""


def main() -> None:
    """Fills, presses, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.desk", description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--presses", type=int, default=100, help="of each operator")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, prepared(options.database, Path(name)) as made:
        folder = Path(name)
        fill(made, LocalBlobs(folder / "blobs"), options.items)
        with serving(made.engine, folder, fresh=True) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            pages = [opened(browser, url, user) for user in ("operator", "second")]
            began = perf_counter()
            press(pages, options.presses)
            seconds = perf_counter() - began
            taken = sorted(one for page in pages for one in page.evaluate("window.taken"))
            browser.close()
        with reading(made.engine) as conn:
            said = {one.id: len(one.reviews) for one in search(conn, Wanted(state="closed"), 10_000)}
    print(
        "| open items | presses | verdicts, parts | presses/s | median | p95 | worst |\n|---|---|---|---|---|---|---|"
    )
    print(f"| {options.items:,} | {2 * options.presses} | {sum(said.values())}, {len(said)} "
          f"| {2 * options.presses / seconds:.1f} | {taken[len(taken) // 2]:.0f} ms "
          f"| {taken[int(0.95 * (len(taken) - 1))]:.0f} ms | {taken[-1]:.0f} ms |")  # fmt: skip


@contextmanager
def prepared(database: str, folder: Path) -> Iterator[Line]:
    """A small line on that database."""
    if database == "sqlite":
        with line(folder) as made:
            yield made
    else:
        with postgresql() as server, databases.on(server), line(folder) as made:
            yield made


def fill(made: Line, blobs: LocalBlobs, count: int) -> None:
    """Open items with vectors that share twenty pictures, normals to compare them with, and a second operator."""
    rng = np.random.default_rng(0)
    kept = [pictures(made.engine, blobs, rng) for _ in range(20)]
    new = (made.new_item(n, serial=f"s{n}", **kept[n % 20]) for n in range(count))
    with writing(made.engine) as conn:
        users.add(conn, "second", "operator", utc_now())
        conn.execute(sa.insert(item), [{**values(one), "state": "open"} for one in new])
        ids = conn.execute(sa.select(item.c.id).order_by(item.c.id)).scalars().all()
        seen = [values(spot(n % 14, n % 13, list(rng.random(FEATURES)), noise=n)) for n in range(100)]
        conn.execute(sa.insert(item_vector), [{"item_id": one, **seen[one % 100]} for one in ids])
        role = {"product_id": made.product_id, "role": "train", "origin": "flagged", "created_at": utc_now()}
        picture = kept[0]["frame_sha256"]
        conn.execute(
            sa.insert(sample),
            [{**role, "blob_sha256": picture, "pixels_sha256": f"{one:064d}", "item_id": one} for one in ids[-MOST:]],
        )


def opened(browser: Browser, url: str, user: str) -> Page:
    """The review page of that user, with a part on screen."""
    page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.add_init_script(WATCH)
    for visit in ("first", "second"):
        page.goto(f"{url}/review?user={user}")
        page.wait_for_function("window.shown")
        drawn, shown = page.evaluate(PAINTED)
        print(f"{user}, {visit} visit: drawn first after {drawn:.0f} ms, a part after {shown:.0f} ms", flush=True)
    return page


def press(pages: Sequence[Page], count: int) -> None:
    """Each page's next verdict, in turn, as soon as its part is there."""
    for _ in range(count):
        for page in pages:
            page.locator(".desk[data-ready='1']").wait_for()
            page.keyboard.press("n")
    for page in pages:
        page.locator(".desk[data-unsaved='0']").wait_for()


if __name__ == "__main__":
    main()
