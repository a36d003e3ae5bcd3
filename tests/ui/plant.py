"""A served dashboard for browser tests: a small line with pictures, and `goodpart dashboard` on a free port."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
from sqlalchemy import Engine

from agent.demo.server import free_port
from agent.settings import environment, load, utc_now
from agent.store import inspections, items, trends
from agent.store.blobs import keep
from agent.store.engine import reading, writing
from agent.store.items import Item, NewItem
from agent.store.local_blobs import LocalBlobs
from tests.commands import NOTHING, start
from tests.databases import Line

PARTS = 12
# What a frame's headers may hold, and what would then be on a page that took it for HTML or Markdown.
HOSTILE, FRAME = "<b class='smuggled'>L7</b> ![x](http://x.test/made)", "<i class='smuggled'>f0</i>"
MADE = ".smuggled, [src*='x.test']"


@dataclass(frozen=True, slots=True)
class Served:
    """A served dashboard and the line behind it."""

    url: str
    line: Line
    blobs: LocalBlobs


class serving:  # noqa: N801
    """Runs `goodpart dashboard` on a free port while the block runs; `fresh`: see `tests.commands`."""

    def __init__(self, engine: Engine, folder: Path, environ: Mapping[str, str] = NOTHING, *, fresh: bool = False):
        port = free_port()
        settings = load(
            None,
            {
                "GOODPART_DATABASE__URL": engine.url.render_as_string(hide_password=False),
                "GOODPART_BLOBS__DIRECTORY": str(folder / "blobs"), "GOODPART_DASHBOARD__PORT": str(port),
                "GOODPART_REDIS__URL": f"redis://127.0.0.1:{free_port()}/0", "GOODPART_AUDIT__RATE": "0", **environ,
            },
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{port}"
        self._environ = {**os.environ, **environment(settings)}
        self._log, self._fresh = folder / "dashboard.log", fresh

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process.pid is not None
        return self._process.pid

    def __enter__(self) -> str:
        self._log.write_bytes(b"")
        files: list[Path | str] = [os.devnull, self._log, self._log]
        self._process = start(["dashboard"], Path.cwd(), self._environ, files, fresh=self._fresh)
        until(self._answers, lambda: self._log.read_text())
        return self.url

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join(20)
        assert self._process.exitcode == 0, self._log.read_text()

    def _answers(self) -> bool:
        assert self._process.exitcode is None, self._log.read_text()
        try:
            with urlopen(f"{self.url}/_stcore/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


def until(condition: Callable[[], bool], say: Callable[[], str] = lambda: "", seconds: float = 40.0) -> None:
    """Waits until the condition holds; fails the test where it does not."""
    end, pause = monotonic() + seconds, Event()
    while not condition():
        if monotonic() > end:
            pytest.fail(f"not reached in {seconds} s {say()}")
        pause.wait(0.05)


def pictures(engine: Engine, blobs: LocalBlobs, rng: np.random.Generator) -> Mapping[str, str]:
    """The evidence of one frame, kept."""
    frame = cv2.imencode(".png", rng.integers(0, 255, (90, 120, 3), np.uint8))[1].tobytes()
    webp = cv2.imencode(".webp", rng.integers(0, 255, (90, 120, 3), np.uint8))[1].tobytes()
    heat = io.BytesIO()
    np.save(heat, rng.random((32, 32)).astype(np.float16))
    named = {
        "frame_sha256": (frame, "image/png"), "preview_sha256": (webp, "image/webp"),
        "overlay_sha256": (webp, "image/webp"), "heatmap_sha256": (heat.getvalue(), "application/x-npy"),
    }  # fmt: skip
    return {name: keep(engine, blobs, data, kind, utc_now()) for name, (data, kind) in named.items()}


def parts(made: Line, blobs: LocalBlobs, count: int, start: int = 0, **changes: Any) -> list[NewItem]:
    """Flagged parts with pictures of their own, from the offset `start` on."""
    rng = np.random.default_rng(start)
    return [
        made.new_item(
            start + n, serial=f"part-{start + n}", score=13.5 + n, **pictures(made.engine, blobs, rng), **changes
        )
        for n in range(count)
    ]


def seed(made: Line, blobs: LocalBlobs) -> None:
    """Parts, and an hour's counts; the headers of one part's frame would be HTML, were a page to let them."""
    now = utc_now()
    verdicts = ["review"] * PARTS + ["pass"] * 4 * PARTS
    rows = [
        made.inspection(n, verdict, event_at=now, decided_at=now, serial=f"part-{n}")
        for n, verdict in enumerate(verdicts)
    ]
    new = parts(made, blobs, PARTS, event_at=now, lot=HOSTILE)
    new[0] = replace(new[0], serial=HOSTILE, frame_id=FRAME)
    rows[0] = replace(rows[0], serial=HOSTILE, frame_id=FRAME)
    with writing(made.engine) as conn:
        inspections.add_all(conn, rows)
        trends.add_inspections(conn, rows)
        items.add_all(conn, new)


def open_items(made: Line, station_id: int | None = None) -> list[Item]:
    """The queue, of a station or of all."""
    with reading(made.engine) as conn:
        return items.queue(conn, station_id=station_id, limit=100)
