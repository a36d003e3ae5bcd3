"""A day of work replayed fast: what 1,000 verdicts leave in the memory of server and browser. `python -m bench.shift`.

One operator presses N as soon as each part is there, through a real browser; every hundred verdicts the resident memory
of the dashboard's process is read, and the browser's heap after it has collected its garbage. A leak is what goes on
growing: the last column is what was added since the first hundred, when everything has been loaded once.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from agent.store.local_blobs import LocalBlobs
from bench.desk import fill, opened, prepared, press
from tests.ui.conftest import CHROMIUM, FLAGS
from tests.ui.plant import serving

MOST = 50  # MiB that the server may add


def main() -> int:
    """Presses, prints a table; 1 where the server grew by more than `MOST`."""
    parser = argparse.ArgumentParser(prog="python -m bench.shift", description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--verdicts", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100, help="verdicts from one reading to the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, prepared(options.database, Path(name)) as made:
        folder = Path(name)
        fill(made, LocalBlobs(folder / "blobs"), options.verdicts + 100)
        server = serving(made.engine, folder, fresh=True)
        with server as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = opened(browser, url, "operator")
            print("| verdicts | server, MiB | browser's heap, MiB | server since the first |\n|---|---|---|---|")
            first = added = None
            for n in range(0, options.verdicts + 1, options.every):
                if n:
                    press([page], options.every)
                    page.evaluate("window.taken = []")  # of the bench itself
                now = resident(server.pid)
                first = now if n == options.every else first
                added = None if first is None else now - first
                print(
                    f"| {n:,} | {now:.0f} | {heap(page):.1f} | {'' if added is None else f'{added:+.0f}'} |", flush=True
                )
            browser.close()
    return int((added or 0) > MOST)


def resident(pid: int) -> float:
    """MiB of physical memory that a process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def heap(page: Page) -> float:
    """MiB of JavaScript objects of a page that are still in use."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return float(used) / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
