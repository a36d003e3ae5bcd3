"""A day of the board on a wall replayed fast: what its redraws leave in the memory of server and browser.

`python -m bench.board`: the page Line stands open in a real browser for the hours asked for, its intervals shortened;
the plant behind it lives as much faster: parts are seen, pictures change. Now and then the resident memory of the
dashboard's process is read, and the browser's heap after it has collected its garbage. A leak is what goes on growing:
the last column is what the server added since the first reading, when everything has been loaded once.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

from playwright.sync_api import Page, WebSocket, sync_playwright
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from agent.demo.redis import RedisServer
from agent.settings import utc_now
from agent.store.local_blobs import LocalBlobs
from bench.shift import MOST, heap, resident
from tests.databases import line
from tests.ui.conftest import CHROMIUM, FLAGS
from tests.ui.plant import serving
from tests.ui.walk import REDIS
from tests.ui.wall import EVERY_S, hung
from tests.ui.works import fill

HOURS, READINGS = 8.0, 10
BOARD_S, BELOW_S = 2.0, 5.0  # between two redraws of the board, and of what is below it
FASTER = 20  # at most: a redraw that is under way when the next is due is one with it
SHORTENED = """
    const every = window.setInterval;
    window.setInterval = (call, ms, ...rest) => every(call, ms >= 1000 ? ms / %d : ms, ...rest);
"""


class Redraws:
    """How many parts of a page were drawn again: of the runs that its server says it finished."""

    def __init__(self, page: Page) -> None:
        self.n, self._sockets = 0, list[WebSocket]()
        page.on("websocket", self._opened)

    def wait(self, n: int) -> None:
        """Until there were so many."""
        while self.n < n:
            self._sockets[-1].wait_for_event("framereceived")

    def _opened(self, socket: WebSocket) -> None:
        self._sockets.append(socket)
        socket.on("framereceived", self._count)

    def _count(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.n += ForwardMsg.FromString(data).WhichOneof("type") == "script_finished"


def main() -> int:
    """Waits for the redraws, prints a table; 1 where the server grew by more than `MOST`."""
    parser = argparse.ArgumentParser(prog="python -m bench.board", description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=HOURS, help="of an open page, whose redraws are waited for")
    parser.add_argument("--stations", type=int, default=12)
    options = parser.parse_args()
    redraws = int(options.hours * 3600 * (1 / BOARD_S + 1 / BELOW_S))
    with tempfile.TemporaryDirectory() as name, line(Path(name)) as made, RedisServer(Path(name)) as redis:
        folder, first, added, began = Path(name), None, 0.0, perf_counter()
        fill(made, LocalBlobs(folder / "blobs"), utc_now(), options.stations)
        server = serving(made.engine, folder, {REDIS: redis.url}, fresh=True)
        with hung(made.engine, redis.url, EVERY_S / FASTER), server as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            page = browser.new_page(viewport={"width": 1920, "height": 1080})
            page.add_init_script(SHORTENED % FASTER)
            counted = Redraws(page)
            page.goto(f"{url}/?user=viewer")
            page.locator(".tile").first.wait_for()
            print("| redraws | server, MiB | browser's heap, MiB | server since the first |\n|---|---|---|---|")
            for reading in range(1, READINGS + 1):
                counted.wait(reading * redraws // READINGS)
                now = resident(server.pid)
                first = now if first is None else first
                added = now - first
                print(f"| {counted.n:,} | {now:.0f} | {heap(page):.1f} | {added:+.0f} |", flush=True)
            browser.close()
        print(f"{redraws:,} redraws, {options.hours:g} h of an open page, in {perf_counter() - began:.0f} s")
    return int(added > MOST)


if __name__ == "__main__":
    raise SystemExit(main())
