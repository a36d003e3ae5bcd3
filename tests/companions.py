"""A second model for tests: scorers that flag by grey value, and a manager that has what it is given."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np

from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.models import ModelManager
from agent.pipeline.patience import Patience
from agent.settings import Settings
from agent.sources.memory import MemoryLog
from tests.streams import FakeScored, FakeScorer, Running, frame, headers

NEITHER, NEW, OLD, BOTH = 100, 110, 120, 130  # grey values, by who flags them


@dataclass
class Choosy(FakeScorer):
    """Flags frames of certain grey values."""

    flags: frozenset[int] = frozenset()
    heat: float = 1.0
    seen: list[int] = field(default_factory=list)

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        super().score(frames)
        greys = [int(one[0, 0, 0]) for one in frames]
        self.seen += greys
        heat = np.full((64, 64), self.heat, np.float32)
        return [FakeScored(2.5 if grey in self.flags else 1.5, heat) for grey in greys]


def flags_new() -> Choosy:
    return Choosy(flags=frozenset({NEW, BOTH}))


def send(log: MemoryLog, values: Sequence[int], **more: Any) -> None:
    for value in values:
        log.append(frame(value), headers(f"f{log.bounds(0).end}", **more))


def manager_of(run: Running, wanted: Settings, made: Mapping[bytes, FakeScorer]) -> ModelManager:
    """Follows the registry; what it cannot load is not in `made`."""
    for data, scorer in made.items():
        scorer.artifact_sha256 = hashlib.sha256(data).hexdigest()
    patience = Patience(Health(), Metrics(), Event(), random.Random(0))
    return ModelManager(
        run.engine, run.store, wanted, patience=patience, metrics=run.metrics, load=lambda data, _: made[data]
    )


def share_of(run: Running) -> float:
    return float(run.metrics.second_share.labels(str(run.seeded.product_id))._value.get())
