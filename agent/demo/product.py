"""The demo's product: people, stations, samples and a first model, made as an engineer would make them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from agent.retrain import importer
from agent.retrain.run import train_product
from agent.retrain.scoring import open_scorer
from agent.service import products, stations, users
from agent.settings import Settings
from agent.store import registry
from agent.store.blobs import BlobStore, open_blobs
from agent.store.engine import reading
from agent.store.users import User
from model import artifact as artifacts
from model.evaluation import evaluate
from model.images import GOOD, ImageFolder, LabelledImage

Say = Callable[[str], None]
Bars = Callable[[], AbstractContextManager[Callable[[Any], None]]]
PEOPLE = (("ada", "admin"), ("eli", "engineer"), ("olga", "operator"), ("quinn", "viewer"))
BANK_SHARE = 3  # every third labelled defect goes to the defect bank, up to BANK_SIZE
BANK_SIZE = 20
ORDER = 7  # seed of the order in which parts come


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """What the camera publishes: the test images that hold no role."""

    name: str
    parts: tuple[LabelledImage, ...]


def people(engine: Engine, clock: Callable[[], datetime]) -> dict[str, User]:
    """The demo's four users, one of each role, by role."""
    admin = users.add(engine, None, *PEOPLE[0], key="demo-user-0", now=clock())
    others = [
        users.add(engine, admin, name, role, key=f"demo-user-{number}", now=clock())
        for number, (name, role) in enumerate(PEOPLE[1:], 1)
    ]
    return {user.role: user for user in (admin, *others)}


def split_bank(test: Sequence[LabelledImage]) -> tuple[tuple[LabelledImage, ...], tuple[LabelledImage, ...]]:
    """Labelled defects for the defect bank, and the images left to be published."""
    bank = [image for image in test if image.label != "good"][::BANK_SHARE][:BANK_SIZE]
    chosen = {image.path for image in bank}
    parts = [image for image in test if image.path not in chosen]
    random.Random(ORDER).shuffle(parts)  # a line does not sort its defects
    return tuple(bank), tuple(parts)


def prepare(
    engine: Engine,
    settings: Settings,
    images: ImageFolder,
    station_names: Sequence[str],
    *,
    say: Say,
    bars: Bars,
    clock: Callable[[], datetime],
) -> DemoProduct:
    """Users, product and stations; the good images imported; a first model trained, certified and measured.

    Args:
        engine: an empty database at the present revision.
        settings: the demo's own.
        images: training images, and labelled test images where there are any.
        station_names: the cameras; all run the product.
        say: prints one line.
        bars: opens progress bars.
        clock: present time, aware UTC.
    """
    blobs = open_blobs(settings.blobs)
    by_role = people(engine, clock)
    engineer = by_role["engineer"]
    name = images.name
    product = products.add(engine, engineer, name, key="demo-product", now=clock())
    for number, station in enumerate(station_names):
        stations.add(engine, engineer, station, product=name, key=f"demo-station-{number}", now=clock())
    bank, parts = split_bank(images.test)
    with bars() as on_progress:
        imported = importer.import_images(
            engine, blobs, settings, engineer, product, images.train_good, bank, now=clock(), on_progress=on_progress
        )
    say(imported.describe())
    with bars() as on_progress:
        result = train_product(
            engine, blobs, settings, product.id,
            trigger="import", requested_by=engineer.id, clock=clock, on_progress=on_progress,
        )  # fmt: skip
    say(result.describe())
    if any(image.label != GOOD for image in images.test) and any(image.label == GOOD for image in images.test):
        say(_measure(engine, blobs, settings, product.id, images, bars))
    if not parts:
        say("the folder has no test images: the camera publishes its training images")
    return DemoProduct(name, parts or images.train_good)


def _measure(
    engine: Engine, blobs: BlobStore, settings: Settings, product_id: int, images: ImageFolder, bars: Bars
) -> str:
    """AUROCs over all labelled test images; none of them was trained on or calibrates."""
    with reading(engine) as conn:
        live = registry.live(conn, product_id)
    if live is None:
        return "no model is live, so nothing can be measured"
    scorer = open_scorer(settings, artifacts.from_bytes(blobs.get(live.artifact_sha256)))
    with bars() as on_progress:
        return evaluate(scorer, images.test, on_progress).describe()
