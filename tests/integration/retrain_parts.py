"""What the tests of the retraining loop share: tiny pictures, a database, settings for a training of seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.live import NoLive
from agent.retrain import schedule
from agent.retrain.importer import import_folder
from agent.retrain.progress import Step
from agent.retrain.result import RunResult
from agent.retrain.run import train_product
from agent.retrain.schedule import Scheduler
from agent.settings import Settings, utc_now
from agent.store import products, proposals, registry, runs, users
from agent.store.blobs import BlobStore, keep
from agent.store.engine import open_engine, reading, upgrade, writing
from agent.store.local_blobs import LocalBlobs
from agent.store.products import Product
from agent.store.runs import TrainingRun
from agent.store.samples import NewSample, Sample
from agent.store.samples import add as add_sample
from agent.store.tables import install
from agent.store.users import User

SIDE = 64
GOOD, DEFECTS = 110, 12
PERSON: dict[str, Any] = {"trigger": "person", "threads": 1}
NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


def picture(seed: int, *, defect: bool = False) -> bytes:
    """A striped disc with noise, as PNG; with a defect, a faint blot on it, always in one place."""
    rng = np.random.default_rng(seed)
    frame = np.full((SIDE, SIDE, 3), 40, np.uint8)
    cv2.circle(frame, (32, 32), 24, (120, 130, 140), -1)
    for x in range(8, SIDE, 8):
        cv2.line(frame, (x, 12), (x, 52), (90, 100, 110), 2)
    if defect:
        cv2.circle(frame, (32, 32), 5, (100, 115, 160), -1)
    noisy = frame.astype(np.float32) + rng.normal(0, 5, frame.shape)
    return cv2.imencode(".png", np.clip(noisy, 0, 255).astype(np.uint8))[1].tobytes()


def folder(path: Path, good: int, *, defects: int = 0, first: int = 0) -> Path:
    """A folder in MVTec layout with masks."""
    for name, count, defect in (("train/good", good, False), ("test/blot", defects, True)):
        (path / name).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            (path / name / f"{i:03}.png").write_bytes(picture(i + 10_000 * defect, defect=defect))
    masks = path / "ground_truth" / "blot"
    masks.mkdir(parents=True, exist_ok=True)
    mask = cv2.imencode(".png", np.full((SIDE, SIDE), 255, np.uint8))[1].tobytes()
    for i in range(first, first + defects):
        (masks / f"{i:03}_mask.png").write_bytes(mask)
    return path


def tiny(place: Path, **retrain: object) -> Settings:
    """Settings for a training of seconds whose certificate needs few images."""
    return Settings.model_validate(
        {
            "database": {"url": f"sqlite:///{place / 'goodpart.db'}"},
            "blobs": {"directory": place / "blobs"},
            "training": {"height": SIDE, "width": SIDE, "steps": 12},
            "scoring": {"device": "cpu", "precision": "fp32", "threads": 1},
            "certificate": {"review_rate": 0.3, "reject_rate": 0.2},
            "retrain": {
                "new_samples": 4,
                "settle_s": 0,
                "check_every_s": 0.2,
                "cooldown_s": 0,
                "directory": place / "retrain",
                **retrain,
            },
            "gate": {"min_defects": 5, "slowdown": 1000.0},  # times of a machine that runs other tests say nothing
            "pipeline": {"batch_size": 4},  # of which the gate times so many rounds
        }
    )  # fmt: skip


def database(settings: Settings) -> tuple[Engine, User, Product]:
    """An upgraded database with an engineer and a product, and a secret that draws the same roles in every test."""
    engine = open_engine(settings.database.url)
    upgrade(engine)
    with writing(engine) as conn:
        conn.execute(sa.update(install).values(secret=b"s" * 32))
        return engine, users.add(conn, "eve", "engineer", NOW), products.add(conn, "disc", now=NOW)


def approve(
    engine: Engine, blobs: BlobStore, product: Product, seeds: range, now: datetime, *, defect: bool = False
) -> list[Sample]:
    """Adds samples as a review of flagged parts does, and a check that found them clear; with `defect`, defects wrongly
    called normal.
    """
    made = []
    for seed in seeds:
        sha = keep(engine, blobs, picture(seed, defect=defect), "image/png", now)
        with writing(engine) as conn:
            one = add_sample(conn, NewSample(product.id, "train", "flagged", sha, sha, state="proposed"), now)
            checked(conn, one.id, now)
            made.append(one)
    return made


def checked(conn: Connection, sample_id: int, now: datetime) -> None:
    """A proposal that the quarantine found clear."""
    clear = {"found": "clear", "words": "in words"}
    proposals.move(conn, sample_id, "accepted", expected=["proposed"], by=None, quarantine=clear, now=now)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited condition never held"
        time.sleep(0.05)


class Notices(NoLive):
    def __init__(self) -> None:
        super().__init__()
        self.products: list[int] = []

    def notify_promotion(self, product_id: int) -> None:
        self.products.append(product_id)


class Plant:
    """A database and blobs in a folder, with one product."""

    def __init__(self, place: Path, **retrain: object) -> None:
        self.settings: Settings = tiny(place, **retrain)
        self.engine: Engine = open_engine(self.settings.database.url)
        self.blobs = LocalBlobs(self.settings.blobs.directory)
        self.live = Notices()
        with reading(self.engine) as conn:
            product, user = products.find(conn, "disc"), users.find(conn, "eve")
        assert product and user
        self.product, self.user = product, user

    def change(self, section: str, **values: object) -> None:
        changed = getattr(self.settings, section).model_copy(update=values)
        self.settings = self.settings.model_copy(update={section: changed})

    def train(self, **options: Any) -> RunResult:
        return train_product(
            self.engine, self.blobs, self.settings, self.product.id,
            requested_by=self.user.id, clock=utc_now, **(PERSON | options),
        )  # fmt: skip

    def approve(self, seeds: range, **options: Any) -> None:
        approve(self.engine, self.blobs, self.product, seeds, utc_now(), **options)

    def scheduler(self) -> Scheduler:
        return schedule.start(self.settings, self.engine, self.live, utc_now)

    def live_version(self) -> int | None:
        with reading(self.engine) as conn:
            live = registry.live(conn, self.product.id)
        return live.number if live else None

    def runs(self) -> list[TrainingRun]:
        with reading(self.engine) as conn:
            return runs.all(conn, self.product.id)

    def count(self, table: sa.Table) -> int:
        with reading(self.engine) as conn:
            return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def imported(place: Path, images: Path) -> Path:
    """A plant with imported samples, not trained."""
    settings = tiny(place)
    engine, user, product = database(settings)
    given = folder(images, GOOD, defects=DEFECTS)
    import_folder(
        engine, LocalBlobs(settings.blobs.directory), settings, user, product, given, defects=True, now=utc_now()
    )
    engine.dispose()
    return place


@contextmanager
def copied(place: Path, to: Path) -> Iterator[Plant]:
    """A plant of one's own, as the one at `place` was left."""
    shutil.copytree(place, to)
    plant = Plant(to)
    try:
        yield plant
    finally:
        plant.engine.dispose()


def with_first_model(bare: Path, to: Path) -> Path:
    """A copy of an imported plant whose first model is live."""
    heard: list[Step] = []
    with copied(bare, to) as plant:
        result = plant.train(on_progress=heard.append)
    assert (result.state, result.reason, result.report) == ("promoted", "first model", None)
    assert {one.phase for one in heard} >= {"training", "calibrating"}
    return to
