"""Changeovers under a running pipeline: each frame once, by the product of its offset, whatever was in flight."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.service import stations as service
from agent.settings import Settings, utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import offsets, products, stations, users
from agent.store.engine import reading, writing
from agent.store.offsets import Counts
from agent.store.tables import changeover, inspection
from agent.store.users import User
from tests.databases import database
from tests.streams import FakeScored, FakeScorer, Running, frame, headers, running, settings

pytestmark = pytest.mark.usefixtures("each_database")
ROOT = Path(__file__).parents[2]
MADE = ("flange", "bracket", "cover")


@dataclass(frozen=True)
class Plant:
    """Three products, of which s1 and s2 run the first and only that has a model; the others are `no_model`."""

    engine: Engine
    settings: Settings
    engineer: User
    ids: dict[str, int]

    def change(self, product: str, station: str = "s1") -> list[tuple[int, int]]:
        """Where it begins: partitions and offsets."""
        key = os.urandom(8).hex()
        done = service.change(self.engine, self.engineer, station, product=product, key=key, now=utc_now())
        return [(one.partition, one.next_offset) for one in done.starts]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with database(tmp_path) as engine:
        with writing(engine) as conn:
            engineer = users.add(conn, "ada", "engineer", utc_now())
            ids = {name: products.add(conn, name, now=utc_now()).id for name in MADE}
            for name in ("s1", "s2"):
                stations.add(conn, name, product_id=ids["flange"], now=utc_now())
        # An agent that waited a heartbeat before it claims again would not be done within a test.
        yield Plant(engine, settings(tmp_path, kafka={"heartbeat_s": 3600}), engineer, ids)


@dataclass
class Gate(FakeScorer):
    """Scores once it is open; `waiting` says that a batch is there."""

    open: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        self.waiting.set()
        assert self.open.wait(20)
        return super().score(frames)


def _products(run: Running, plant: Plant) -> dict[int, str]:
    names = {row: name for name, row in plant.ids.items()}
    return {row.offset: names[row.product_id] for row in run.rows()}


def test_frames_in_flight_are_decided_once_by_the_product_of_their_offset(plant: Plant) -> None:
    log, gate = MemoryLog(), Gate()
    gate.open.set()
    with running(plant.engine, plant.settings, MemorySource(log), scorer=gate) as run:
        for number in range(3):
            log.append(frame(), headers(f"f{number}"))
        run.until_received(3)
        gate.open.clear()
        gate.waiting.clear()
        for number in range(3, 8):
            log.append(frame(), headers(f"f{number}", product="flange" if number == 5 else None))
        log.append(frame(), headers("f8", station="s2"))
        assert gate.waiting.wait(20)
        run.until(lambda: run.pipeline.stats().in_flight == 6)
        assert plant.change("bracket") == [(0, 3)]
        log.append(frame(), headers("f9"))
        gate.open.set()
        assert run.until_received(10) == Counts(10, inspected=5, not_inspected=5)
        found = _products(run, plant)
        assert found == {n: "flange" if n < 3 or n in (5, 8) else "bracket" for n in range(10)}
        assert {row.product_id for row in run.rows() if row.reason == "no_model"} == {plant.ids["bracket"]}
        assert b"goodpart_fenced_total 0.0" in run.metrics.text()
        run.until(lambda: len(run.sink.published) >= 10)
        said = [json.loads(one.value) for one in run.sink.published]
        assert {one["id"] for one in said if one["product"] == "bracket"} == {
            one["id"] for one in said if one["frame_id"] in ("f3", "f4", "f6", "f7", "f9")
        }


def test_a_changeover_while_no_agent_runs_begins_where_the_last_one_ended(plant: Plant) -> None:
    log, n = MemoryLog(), 60
    for number in range(n // 2):
        log.append(frame(), headers(f"f{number}"))
    slow = FakeScorer(delay_s=0.01)
    with running(plant.engine, plant.settings, MemorySource(log), scorer=slow, agent="first") as run:
        run.until_received(5)
    start = run.totals().received
    for number in range(n // 2, n):
        log.append(frame(), headers(f"f{number}"))
    environ = {
        "GOODPART_DATABASE__URL": plant.engine.url.render_as_string(hide_password=False), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "agent.cli", "stations", "set", "s1", "--product", "bracket", "--as", "ada"]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"changed station s1\nbracket from offset {start} of goodpart.frames/0\n", done.stderr
    with running(plant.engine, plant.settings, MemorySource(log), agent="second") as run:
        assert run.until_received(n) == Counts(n, inspected=start, not_inspected=n - start)
        assert _products(run, plant) == {number: "flange" if number < start else "bracket" for number in range(n)}


def test_many_changeovers_with_two_agents_one_of_which_is_started_again(plant: Plant) -> None:
    """The oracle reads the changeovers' rows: an offset has the product of the last one at or before it."""
    log, n, rng = MemoryLog(3), 300, random.Random(7)
    named: dict[str, str] = {}

    def publish(numbers: range) -> None:
        for number in numbers:
            station, product = rng.choice(("s1", "s2")), rng.choice((None, None, *MADE))
            if product:
                named[f"f{number}"] = product
            log.append(frame(), headers(f"f{number}", station=station, product=product), partition=rng.randrange(3))

    def agent(partitions: set[int], name: str) -> Any:
        source = MemorySource(log, auto=False)
        source.assign(partitions)
        return running(plant.engine, plant.settings, source, scorer=FakeScorer(delay_s=0.002), agent=name)

    with ExitStack() as stack:
        run = stack.enter_context(agent({0, 1}, "one"))
        other = ExitStack()
        stack.enter_context(other)
        for turn in range(10):
            if turn % 4 == 0:
                other.close()
                other.enter_context(agent({2}, f"two-{turn}"))
            run.until(lambda: len(_partitions(plant)) == 3)
            publish(range(n // 10 * turn, n // 10 * (turn + 1)))
            run.until_received(n // 10 * turn)
            plant.change(MADE[(turn + 1) % 3], f"s{turn % 2 + 1}")
        counts = run.until_received(n)
    assert counts.balanced
    assert (counts.received, counts.duplicate, counts.dead_lettered) == (n, 0, 0)
    found = run.rows(inspection)
    assert Counter(row.frame_id for row in found) == {f"f{number}": 1 for number in range(n)}
    changes = run.rows(changeover)
    assert len({row.product_id for row in found if row.frame_id not in named}) == len(MADE)
    for row in found:
        before = [one.product_id for one in sorted(changes, key=lambda one: int(one.id)) if _counts(one, row)]
        runs = before[-1] if before else plant.ids["flange"]
        assert row.product_id == plant.ids.get(named.get(row.frame_id, ""), runs), row


def _partitions(plant: Plant) -> list[offsets.PartitionState]:
    with reading(plant.engine) as conn:
        return offsets.partitions(conn)


def _counts(change: sa.Row[Any], row: sa.Row[Any]) -> bool:
    same = (change.station_id, change.stream_id, change.partition) == (row.station_id, row.stream_id, row.partition)
    return same and bool(change.from_offset <= row.offset)
