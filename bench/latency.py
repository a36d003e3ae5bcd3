"""From capture to the committed decision, with a real model and local blobs, at half of the measured capacity.

`python -m bench.latency [--seconds 60] [--backlog 400]`: rendered parts as JPEG on an Apache Kafka of its own, the
default teacher, SQLite. Capacity is how fast the agent records a backlog. The goal: 99 % of the frames take at most
max_wait_ms, five times the scoring of a batch, and 50 ms.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic
from urllib.request import urlopen

import numpy as np
from sqlalchemy import Engine

from agent import logs
from agent.camera import Camera, Picture, stream
from agent.demo.broker import create_topics
from agent.demo.product import prepare
from agent.demo.render import render
from agent.demo.server import free_port
from agent.settings import Settings, environment, load, utc_now
from agent.store.engine import open_engine, upgrade
from model.images import read_folder
from tests.apache_kafka import UNPROVEN, apache_kafka, is_here
from tests.crash.plant import totals
from tests.streams import until

STATIONS = ("station-1", "station-2")
PARTITIONS = 2
GOOD, TEST_GOOD = 40, 60  # parts to train on, and to publish, with a defective one of each kind
STEPS = 2  # a model that knows little: its certificate is made for it, and scoring costs what it always does
WARM = 64  # frames before anything is measured
PARTS_OF_GOAL = (5, 50.0)  # batches' scoring times, milliseconds


@dataclass(frozen=True, slots=True)
class Found:
    """Frames per second; milliseconds from capture to the committed decision, and of scoring a batch."""

    capacity: float
    rate: float
    latencies: Sequence[float]
    batch: float  # frames, on average, while the rate was steady
    scoring_ms: float
    max_wait_ms: float

    @property
    def goal_ms(self) -> float:
        """What 99 % of the latencies must not exceed."""
        batches, rest_ms = PARTS_OF_GOAL
        return self.max_wait_ms + batches * self.scoring_ms + rest_ms

    def percentile(self, percent: float) -> float:
        """What so many of the latencies do not exceed."""
        return float(np.percentile(self.latencies, percent, method="inverted_cdf"))


def make_settings(folder: Path, bootstrap: str) -> Settings:
    """Everything local, in `folder`."""
    given = {
        "DATABASE__URL": f"sqlite:///{folder / 'goodpart.db'}", "BLOBS__DIRECTORY": str(folder / "blobs"),
        "KAFKA__BOOTSTRAP": bootstrap, "REDIS__URL": "", "AGENT__PORT": str(free_port()),
        "TRAINING__STEPS": str(STEPS), "LOG__LEVEL": "warning",
    }  # fmt: skip
    return load(None, {f"GOODPART_{name}": text for name, text in given.items()})


def make_model(folder: Path, settings: Settings, engine: Engine) -> list[Picture]:
    """Renders parts and trains the product's model on some of them; returns the others."""
    render(folder / "flange", good=GOOD, test_good=TEST_GOOD, defects_per_kind=1, seed=7)
    images = read_folder(folder / "flange")
    product = prepare(engine, settings, images, STATIONS, say=lambda line: None, bars=_no_bars, clock=utc_now)
    return [Picture.of(part.path) for part in product.parts]


def measure(
    folder: Path, settings: Settings, engine: Engine, pictures: Sequence[Picture], *, seconds: float, backlog: int
) -> Found:
    """Runs one agent through a backlog, then through a steady stream at half the speed."""
    create_topics(settings.kafka, {settings.kafka.frames_topic: PARTITIONS, settings.kafka.decisions_topic: 1})
    with _agent(settings, folder) as latencies, Camera(settings.kafka) as camera:

        def send(count: int, rate: float) -> None:
            stream(camera, itertools.cycle(pictures), rate=rate, stations=STATIONS, count=count, stop=Event())
            camera.flush()

        send(WARM, 1e6)
        _recorded(engine, WARM)
        began = monotonic()
        send(backlog, 1e6)
        _recorded(engine, WARM + backlog)
        capacity = backlog / (monotonic() - began)
        before, count = _scoring(settings), max(1, int(seconds * capacity / 2))
        send(count, capacity / 2)
        _recorded(engine, WARM + backlog + count)
        batches, spent_s, frames = (now - then for now, then in zip(_scoring(settings), before, strict=True))
        until(lambda: len(latencies.read_text().splitlines()) == WARM + backlog + count)
        steady = [float(line) for line in latencies.read_text().splitlines()[WARM + backlog :]]
    wait_ms = settings.pipeline.max_wait_ms
    return Found(capacity, capacity / 2, steady, frames / batches, 1000 * spent_s / batches, wait_ms)


def _no_bars() -> nullcontext:  # type: ignore[type-arg]
    return nullcontext(lambda progress: None)


@contextmanager
def _agent(settings: Settings, folder: Path) -> Iterator[Path]:
    """A running agent that is ready; yields the file of its latencies."""
    file = folder / "latencies"
    program = [sys.executable, "-m", "bench.latency_agent", str(file)]
    process = subprocess.Popen(program, env={**os.environ, **environment(settings)})
    try:
        until(lambda: _get(settings, "readyz"), 300, check=lambda: _alive(process))
        yield file
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _alive(process: subprocess.Popen[bytes]) -> None:
    assert process.poll() is None, f"the agent ended with {process.returncode}"


def _get(settings: Settings, path: str) -> str:
    try:
        with urlopen(f"http://{settings.agent.host}:{settings.agent.port}/{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def _scoring(settings: Settings) -> tuple[float, float, float]:
    """Batches so far, the seconds they took, and their frames."""
    text = _get(settings, "metrics")
    names = ("goodpart_scoring_seconds_count", "goodpart_scoring_seconds_sum", "goodpart_batch_frames_sum")
    found = [re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in names]
    batches, seconds, frames = (float(one[1]) if one else 0.0 for one in found)
    return batches, seconds, frames


def _recorded(engine: Engine, count: int) -> None:
    until(lambda: totals(engine).received >= count, 600)


def main() -> None:
    """Prints the percentiles beside the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady stream")
    parser.add_argument("--backlog", type=int, default=400, help="frames that measure the capacity")
    options = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logs.configure("error", "console")
    if not is_here():
        raise SystemExit(UNPROVEN)
    with tempfile.TemporaryDirectory() as name, apache_kafka() as broker:
        folder = Path(name)
        settings = make_settings(folder, broker.bootstrap)
        engine = open_engine(settings.database.url)
        upgrade(engine)
        pictures = make_model(folder, settings, engine)
        found = measure(folder, settings, engine, pictures, seconds=options.seconds, backlog=options.backlog)
        engine.dispose()
    print("| capacity | sent | frames | batch | its scoring | p50 | p95 | p99 | goal for p99 |")
    print("|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {found.capacity:.1f}/s | {found.rate:.1f}/s | {len(found.latencies):,} | {found.batch:.1f} frames "
        f"| {found.scoring_ms:.0f} ms | {found.percentile(50):.0f} ms | {found.percentile(95):.0f} ms "
        f"| {found.percentile(99):.0f} ms | {found.goal_ms:.0f} ms |"
    )


if __name__ == "__main__":
    main()
