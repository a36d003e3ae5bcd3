"""A plant that scenarios run on: a broker, a database, people, one station, and an agent in this process.

Everything is the product's own, but for the agent's clock; the quarantine and the trainings run in child processes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy import Engine

from agent import daemon
from agent.camera import Camera
from agent.demo.accounts import audit as books
from agent.demo.broker import create_topics
from agent.demo.part import USUAL, Lamp
from agent.frame import Envelope
from agent.service import products, stations, users
from agent.settings import Settings
from agent.store import offsets
from agent.store.blobs import BlobStore, open_blobs
from agent.store.engine import open_engine, reading, upgrade, writing
from agent.store.products import Product
from agent.store.tables import inspection, install
from agent.store.users import User
from tests.scenarios.clock import PlantClock, hurried
from tests.scenarios.parts import Flanges, Part
from tests.scenarios.story import Story

STATION = "press-1"
CHUNK = 16  # parts between two looks at the clock
CHUNK_TAKES = timedelta(minutes=8)
DECIDED_S = 120.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A part and what was decided of it."""

    part: Part
    verdict: str
    deployment_id: int | None

    @property
    def flagged(self) -> bool:
        return self.verdict in ("review", "reject")


@dataclass(frozen=True, slots=True)
class People:
    """Who works here: an engineer, and the operators of two shifts."""

    engineer: User
    operators: tuple[User, User]


@dataclass
class Plant:
    """One thread publishes and looks."""

    settings: Settings
    engine: Engine
    blobs: BlobStore
    people: People
    product: Product
    flanges: Flanges
    clock: PlantClock
    story: Story
    truth: dict[str, Part] = field(default_factory=dict)  # by serial: what was published
    frames: list[str] = field(default_factory=list)  # their ids
    last_at: datetime | None = None  # when the last part was seen
    _camera: Camera | None = None
    _agent: threading.Thread | None = None
    _failed: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """An agent, and a camera, for as long as the block runs."""
        stop = threading.Event()

        def run() -> None:
            try:
                daemon.run(self.settings, stop=stop, clock=self.clock)
            except BaseException as error:
                self._failed.append(error)

        self._agent = threading.Thread(target=run, name="agent", daemon=True)
        with hurried(), Camera(self.settings.kafka) as self._camera:
            self.clock.put_forward(timedelta())
            self._agent.start()
            try:
                yield
            finally:
                stop.set()
                self._agent.join(60)

    def inspect(self, parts: Sequence[Part], lamp: Lamp = USUAL) -> list[Seen]:
        """Publishes parts and waits for their decisions; every CHUNK of them takes the plant some minutes."""
        found: list[Seen] = []
        shots = self.flanges.shots(parts, lamp)
        for start in range(0, len(parts), CHUNK):
            some = parts[start : start + CHUNK]
            for _ in some:
                self._publish(*next(shots))
            found += self._decisions(some)
            self.clock.put_forward(CHUNK_TAKES * len(some) / CHUNK)
        return found

    def _publish(self, part: Part, shot: bytes) -> None:
        assert self._camera
        self.truth[part.serial] = part
        self.frames.append(str(uuid4()))
        self.last_at = self.clock()
        envelope = Envelope(
            self.frames[-1], STATION, None, part.serial, None, self.last_at, "image/jpeg", len(self.frames), None
        )
        self._camera.publish(shot, envelope)

    def _decisions(self, parts: Sequence[Part]) -> list[Seen]:
        def decided() -> bool:
            self.check()
            with reading(self.engine) as conn:
                return offsets.totals(conn).received >= len(self.frames)

        self.story.until(decided, f"decisions on {len(parts)} parts", DECIDED_S)
        row, by_serial = inspection.c, {one.serial: one for one in parts}
        query = sa.select(row.serial, row.verdict, row.deployment_id).where(row.serial.in_(list(by_serial)))
        with reading(self.engine) as conn:
            return [Seen(by_serial[one.serial], one.verdict, one.deployment_id) for one in conn.execute(query)]

    def check(self) -> None:
        """Raises what ended the agent, if something did."""
        if self._failed:
            raise self._failed[0]

    def problems(self) -> tuple[str, ...]:
        """What of the books does not add up: received, inspected, decided on the wire."""
        return books(self.engine, self.settings.kafka, self.frames).problems


@contextmanager
def plant(settings: Settings, flanges: Flanges, story: Story) -> Iterator[Plant]:
    """A new plant with its topics, people, product and station; its database and broker are there."""
    clock = PlantClock()
    engine = open_engine(settings.database.url)
    try:
        upgrade(engine)
        create_topics(settings.kafka, {settings.kafka.frames_topic: 1, settings.kafka.decisions_topic: 1})
        people, product = settled(engine, clock, "flange", flanges.seed)
        stations.add(engine, people.engineer, STATION, product=product.name, key="station", now=clock())
        yield Plant(settings, engine, open_blobs(settings.blobs), people, product, flanges, clock, story)
    finally:
        engine.dispose()


def settled(engine: Engine, clock: Callable[[], datetime], name: str, seed: int) -> tuple[People, Product]:
    """The people of an empty database, and a product. What is drawn by keyed hash is drawn by the seed."""
    with writing(engine) as conn:
        conn.execute(sa.update(install).values(secret=seed.to_bytes(32, "big")))
    admin = users.add(engine, None, "ada", "admin", key="ada", now=clock())

    def hire(name: str, role: str) -> User:
        return users.add(engine, admin, name, role, key=name, now=clock())

    people = People(hire("eli", "engineer"), (hire("olga", "operator"), hire("omar", "operator")))
    return people, products.add(engine, people.engineer, name, key="product", now=clock())


def sections(folder: Path, bootstrap: str, url: str) -> dict[str, dict[str, object]]:
    """Settings of every plant, by section: its own places, and an agent that looks often."""
    return {
        "database": {"url": url},
        "blobs": {"directory": folder / "blobs"},
        "kafka": {"bootstrap": bootstrap, "session_timeout_s": 6.0, "heartbeat_s": 2.0},
        "redis": {"url": ""},
        "agent": {"port": 0},
        "log": {"level": "error"},
        "scoring": {"device": "cpu", "threads": 1},
        "alerts": {"disk_free_gb": 0.0},
        "samples": {"check_every_s": 1.0},
        "retrain": {"check_every_s": 1.0, "directory": folder / "retrain"},
    }
