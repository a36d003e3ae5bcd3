"""What the tests of the stream share: tiny frames, a scorer without torch, a seeded line, a running pipeline."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.alerts.base import Alarms, NoAlarms
from agent.frame import Envelope, to_headers
from agent.health import Health
from agent.live import Live, NoLive
from agent.metrics import Metrics
from agent.pipeline.patience import Patience
from agent.pipeline.provider import Deployed
from agent.pipeline.run import Parts, Pipeline
from agent.settings import Settings, load, utc_now
from agent.sources.base import Decisions, Source
from agent.sources.memory import MemoryDecisions
from agent.store import certificates, offsets, products, registry, stations
from agent.store.blobs import BlobStore, keep
from agent.store.engine import reading, writing
from agent.store.install import install_of
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.tables import inspection
from model.certificate import Certificate, certify
from model.images import InputError, InputSpec

GOOD, DEFECT, POISON = 150, 250, 13  # grey values of frames: score 1.5, score 2.5, breaks the scorer
TINY = 4  # pixels: a smaller frame breaks it too
SPEC = InputSpec(64, 64)
FINGERPRINT = "fake/1"


def frame(value: int = GOOD, *, side: int = 24) -> bytes:
    """A PNG of one grey value."""
    done, data = cv2.imencode(".png", np.full((side, side, 3), value, np.uint8))
    assert done
    return bytes(data.tobytes())


def corrupt() -> bytes:
    """A PNG that says its size and then breaks off."""
    return frame(side=64)[:60]


def headers(
    frame_id: str = "", *, station: str = "s1", product: str | None = None, **more: Any
) -> list[tuple[str, bytes]]:
    """Headers of a good frame."""
    given: dict[str, Any] = {
        "serial": None, "lot": None, "captured_at": datetime.now(UTC), "content_type": "image/png", "sequence": None,
        "raw": None,
    } | more  # fmt: skip
    return to_headers(Envelope(frame_id=frame_id, station=station, product=product, **given))


@dataclass
class FakeScored:
    score: float
    map: Any
    features: Any = field(default_factory=lambda: np.array([3, 4], np.float32))


@dataclass
class FakeScorer:
    """Scores a frame by its grey value; `broken` fails it wholly; POISON and TINY frames fail the batch they are in."""

    spec: InputSpec = SPEC
    fingerprint: str = FINGERPRINT
    artifact_sha256: str = "0" * 64
    space: str = "5" * 64
    delay_s: float = 0.0
    broken: bool = False
    batches: list[int] = field(default_factory=list)

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        self.batches.append(len(frames))
        time.sleep(self.delay_s * len(frames))
        if self.broken:
            raise RuntimeError("the device is gone")
        if any(int(one[0, 0, 0]) == POISON for one in frames):
            raise ValueError("poison")
        if any(one.shape[0] < TINY for one in frames):
            raise InputError("the region is smaller than a pixel")
        return [FakeScored(float(one.mean()) / 100, np.eye(*self.spec.canvas, dtype=np.float32)) for one in frames]

    def warm_up(self) -> None:
        if self.broken:
            raise RuntimeError("the device is gone")


@dataclass
class FakeProvider:
    """Deployments by product id, changed by the test."""

    deployed: dict[int, Deployed]
    unusable: set[int] = field(default_factory=set)

    def broken(self, product_id: int) -> bool:
        return product_id in self.unusable

    def start(self) -> None: ...

    def current(self, product_id: int) -> Deployed | None:
        return self.deployed.get(product_id)

    def all(self) -> Collection[Deployed]:
        return list(self.deployed.values())

    def problems(self) -> str | None:
        return None

    def stop(self) -> None: ...


def certificate(artifact_sha256: str = "0" * 64, fingerprint: str = FINGERPRINT) -> Certificate:
    """Good parts score 1 to 2: more is flagged."""
    return certify(
        [float(score) for score in np.linspace(1, 2, 100)],
        artifact_sha256=artifact_sha256,
        calibration_sha256="1" * 64,
        fingerprint=fingerprint,
        review_rate=0.05,
        reject_rate=0.01,
        confidence=0.95,
    )


@dataclass(frozen=True)
class Seeded:
    """Product `flange` with a deployed model, on the stations s1 and s2."""

    product_id: int
    deployment_id: int
    artifact_sha256: str


def seed(engine: Engine, store: BlobStore, *, artifact: bytes = b"artifact", watch_share: float = 0.0) -> Seeded:
    """Registers the line and promotes a model whose artifact is any bytes."""
    now = utc_now()
    sha256 = keep(engine, store, artifact, "application/octet-stream", now)
    with writing(engine) as conn:
        product = products.find(conn, "flange") or products.add(conn, "flange", now=now)
        for name in ("s1", "s2"):
            if not stations.find(conn, name):
                stations.add(conn, name, product_id=product.id, now=now)
        version = registry.add_version(
            conn, product_id=product.id, artifact_sha256=sha256, teacher="none", manifest={}, now=now
        )
        row = certificates.add(conn, version_id=version.id, record=certificate(sha256).to_dict(), now=now)
        live = registry.promote(
            conn, version_id=version.id, certificate_id=row, config_hash="2" * 64, reason="test", by=None, now=now,
            watch_share=watch_share,
        )  # fmt: skip
    return Seeded(product.id, live.id, sha256)


def settings(folder: Path, **sections: Mapping[str, Any]) -> Settings:
    """Settings for a test in `folder`: quick, any port, no Redis."""
    given: dict[str, dict[str, Any]] = {
        "database": {"url": f"sqlite:///{folder / 'goodpart.db'}"},
        "blobs": {"directory": folder / "blobs"},
        "kafka": {"session_timeout_s": 6, "heartbeat_s": 0.2},
        "redis": {"url": ""},
        "audit": {"rate": 0},
        "agent": {"port": 0},
        "pipeline": {"max_age_s": 3600, "drain_s": 15},
    }
    for section, values in sections.items():
        given[section] = given.get(section, {}) | dict(values)
    environ = {f"GOODPART_{s.upper()}__{k.upper()}": str(v) for s, values in given.items() for k, v in values.items()}
    return load(None, environ)


def until(condition: Callable[[], Any], seconds: float = 30.0, *, check: Callable[[], None] | None = None) -> None:
    """Waits for a condition, as often as the machine allows."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if check:
            check()
        assert time.monotonic() < end, f"not reached in {seconds} s"
        pause.wait(0.02)


@dataclass
class Running:
    """A pipeline over a source, and what a test looks at."""

    pipeline: Pipeline
    engine: Engine
    store: LocalBlobs
    sink: Any
    seeded: Seeded
    scorer: FakeScorer
    provider: FakeProvider
    metrics: Metrics
    health: Health

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        """Waits while the pipeline works."""
        until(condition, seconds, check=self._check)

    def until_received(self, n: int) -> Counts:
        """Waits until n frames are recorded."""
        self.until(lambda: self.totals().received >= n)
        return self.totals()

    def totals(self) -> Counts:
        with reading(self.engine) as conn:
            return offsets.totals(conn)

    def rows(self, table: sa.Table = inspection) -> list[Any]:
        with reading(self.engine) as conn:
            return list(conn.execute(sa.select(table)))

    def _check(self) -> None:
        if self.pipeline.failed:
            raise AssertionError(f"the pipeline failed: {self.pipeline.failed!r}") from self.pipeline.failed


@contextmanager
def running(
    engine: Engine,
    wanted: Settings,
    source: Source,
    *,
    sink: Decisions | None = None,
    live: Live | None = None,
    clock: Callable[[], datetime] = utc_now,
    store: BlobStore | None = None,
    scorer: FakeScorer | None = None,
    agent: str = "agent",
    alarms: Alarms | None = None,
) -> Iterator[Running]:
    """Runs a pipeline over a seeded line; stops it at the end."""
    blobs = LocalBlobs(wanted.blobs.directory)
    seeded = seed(engine, blobs)
    scorer = scorer or FakeScorer()
    scorer.artifact_sha256 = seeded.artifact_sha256
    provider = FakeProvider(
        {seeded.product_id: Deployed(seeded.deployment_id, scorer, certificate(seeded.artifact_sha256))}
    )
    health, metrics = Health(), Metrics()
    with reading(engine) as conn:
        install = install_of(conn)
    sink = sink or MemoryDecisions()
    patience = Patience(health, metrics, threading.Event(), random.Random(0))
    pipeline = Pipeline(
        Parts(
            settings=wanted,
            engine=engine,
            store=store or blobs,
            source=source,
            sink=sink,
            provider=provider,
            live=live or NoLive(),
            health=health,
            metrics=metrics,
            patience=patience,
            install=install,
            agent=agent,
            clock=clock,
            rng=random.Random(0),
            alarms=alarms or NoAlarms(),
        )
    )
    try:
        pipeline.start()
        yield Running(pipeline, engine, blobs, sink, seeded, scorer, provider, metrics, health)
    finally:
        pipeline.stop()
