"""A model swap happens between two batches and loses no frame; a broken artifact leaves the old one in use."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.models import Load, ModelManager
from agent.pipeline.patience import Patience, PatientBlobs
from agent.settings import Settings
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import registry
from agent.store.blobs import BlobStore
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from tests.streams import FakeScored, FakeScorer, frame, headers, running, seed, settings, until


def load(data: bytes, wanted: Settings) -> FakeScorer:
    """A scorer of any artifact but the broken one."""
    if data == b"broken":
        raise ValueError("not an artifact")
    return FakeScorer(artifact_sha256=MADE.get(data, "0" * 64))


MADE: dict[bytes, str] = {}


def _manager(engine: Engine, store: BlobStore, wanted: Settings, load: Load = load) -> ModelManager:
    patience = Patience(Health(), Metrics(), Event(), random.Random(0))
    return ModelManager(engine, PatientBlobs(store), wanted, patience=patience, metrics=Metrics(), load=load)


def test_what_is_live_at_the_start_is_ready_before_the_first_frame(engine: Engine, tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "blobs")
    seeded = seed(engine, store, artifact=b"one")
    MADE[b"one"] = seeded.artifact_sha256
    manager = _manager(engine, store, settings(tmp_path))
    manager.start()
    try:
        used = manager.current(seeded.product_id)
        assert used is not None
        assert used.deployment_id == seeded.deployment_id
        assert used.certified
        assert manager.problems() is None
        assert manager.current(99) is None
    finally:
        manager.stop()


@dataclass
class Gated(FakeScorer):
    """Warms up and scores no further than it may."""

    warming: Event = field(default_factory=Event)
    warm: Event = field(default_factory=Event)
    scoring: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)

    def warm_up(self) -> None:
        self.warming.set()
        self.warm.wait(60)

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        self.scoring.set()
        self.go_on.wait(60)
        return super().score(frames)


@pytest.mark.promise(10)
def test_frames_are_decided_while_the_next_model_loads_and_it_takes_over_between_two_batches(
    engine: Engine, tmp_path: Path
) -> None:
    log, old, new = MemoryLog(), Gated(), Gated()
    gates = (old.warm, old.go_on, new.go_on, new.warm)
    for gate in gates[:3]:
        gate.set()

    def gated(data: bytes, wanted: Settings) -> FakeScorer:
        scorer = new if data == b"two" else old
        scorer.artifact_sha256 = hashlib.sha256(data).hexdigest()
        return scorer

    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        manager = _manager(engine, run.store, settings(tmp_path), gated)
        manager.start()
        run.provider.current = manager.current  # type: ignore[method-assign]
        try:
            log.append(frame(), headers("before"))
            run.until_received(1)
            second = seed(engine, run.store, artifact=b"two")
            manager.notice(second.product_id)
            assert new.warming.wait(60)
            for number in range(20):
                log.append(frame(), headers(f"f{number}"))
            run.until_received(21)  # none of them waits for the new model

            old.scoring.clear()
            old.go_on.clear()
            log.append(frame(), headers("in hand"))
            assert old.scoring.wait(60)
            new.warm.set()

            def swapped() -> bool:
                used = manager.current(second.product_id)
                return used is not None and used.deployment_id == second.deployment_id

            run.until(swapped)  # nor does it wait for a batch of the old one
            log.append(frame(), headers("next"))
            old.go_on.set()
            assert run.until_received(23) == Counts(23, inspected=23)
            decided = {row.frame_id: row.deployment_id for row in run.rows()}
            assert decided.pop("next") == second.deployment_id
            assert set(decided.values()) == {run.seeded.deployment_id}, "what a batch began with decides all of it"
        finally:
            for gate in gates:
                gate.set()
            manager.stop()


@pytest.mark.promise(10)
def test_a_broken_artifact_leaves_the_old_deployment_in_use_and_is_told(engine: Engine, tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "blobs")
    first = seed(engine, store, artifact=b"one")
    manager = _manager(engine, store, settings(tmp_path))
    manager.start()
    try:
        seed(engine, store, artifact=b"broken")
        manager.notice(first.product_id)
        until(manager.problems)
        assert "cannot be used (ValueError: not an artifact)" in (manager.problems() or "")
        used = manager.current(first.product_id)
        assert used is not None
        assert used.deployment_id == first.deployment_id
        mended = seed(engine, store, artifact=b"three")
        manager.notice(first.product_id)

        def swapped() -> bool:
            used = manager.current(first.product_id)
            return used is not None and used.deployment_id == mended.deployment_id

        until(swapped)
        assert manager.problems() is None
    finally:
        manager.stop()


def test_a_look_that_fails_is_not_the_last_one(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalBlobs(tmp_path / "blobs")
    seeded = seed(engine, store, artifact=b"one")
    MADE[b"one"] = seeded.artifact_sha256
    manager = _manager(engine, store, settings(tmp_path))
    manager.start()
    looks, live_all = Event(), registry.live_all

    def broken(conn: Connection) -> Any:
        looks.set()
        raise ValueError("what nobody thought of")

    try:
        monkeypatch.setattr(registry, "live_all", broken)
        manager.notice(seeded.product_id)
        assert looks.wait(20)
        assert manager.current(seeded.product_id) is not None
        monkeypatch.setattr(registry, "live_all", lambda conn: {})
        manager.notice(seeded.product_id)
        until(lambda: manager.current(seeded.product_id) is None)
    finally:
        monkeypatch.setattr(registry, "live_all", live_all)
        manager.stop()
