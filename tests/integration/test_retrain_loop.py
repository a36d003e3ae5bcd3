"""The loop with real, tiny trainings: first model, challenger, gate, child process, kill -9."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import save as safetensors
from sqlalchemy import Engine

from agent.live import NoLive
from agent.retrain import holding, job, schedule
from agent.retrain.errors import Busy, Cancelled, RetrainError, TooFewImages
from agent.retrain.importer import import_folder
from agent.retrain.progress import Step
from agent.retrain.result import RunResult
from agent.retrain.run import train_product
from agent.retrain.schedule import Scheduler
from agent.service import retrain as service
from agent.settings import Settings, utc_now
from agent.store import commands, epochs, products, registry, runs, samples, tables, users
from agent.store.blobs import keep
from agent.store.engine import open_engine, reading, writing
from agent.store.local_blobs import LocalBlobs
from agent.store.runs import TrainingRun
from model.artifact import from_bytes
from model.certificate import Certificate
from model.images import InputSpec
from tests.integration.retrain_parts import approve, database, folder, tiny, until

GOOD, DEFECTS = 110, 12


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
            trigger="person", requested_by=self.user.id, clock=utc_now, threads=1, **options,
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


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant with imported samples, not trained."""
    place = tmp_path_factory.mktemp("bare")
    settings = tiny(place)
    engine, user, product = database(settings)
    images = folder(tmp_path_factory.mktemp("images"), GOOD, defects=DEFECTS)
    blobs = LocalBlobs(settings.blobs.directory)
    import_folder(engine, blobs, settings, user, product, images, defects=True, now=utc_now())
    engine.dispose()
    return place


@pytest.fixture(scope="module")
def trained(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plant whose first model is live."""
    place = tmp_path_factory.mktemp("trained") / "plant"
    shutil.copytree(bare, place)
    plant = Plant(place)
    heard: list[Step] = []
    result = plant.train(on_progress=heard.append)
    assert (result.state, result.reason, result.report) == ("promoted", "first model", None)
    assert {one.phase for one in heard} >= {"training", "calibrating"}
    plant.engine.dispose()
    return place


@pytest.fixture
def untrained_plant(bare: Path, tmp_path: Path) -> Iterator[Plant]:
    shutil.copytree(bare, tmp_path / "plant")
    plant = Plant(tmp_path / "plant")
    yield plant
    plant.engine.dispose()


@pytest.fixture
def plant(trained: Path, tmp_path: Path) -> Iterator[Plant]:
    shutil.copytree(trained, tmp_path / "plant")
    plant = Plant(tmp_path / "plant")
    yield plant
    plant.engine.dispose()


def test_the_first_model_is_promoted_with_its_certificate(plant: Plant) -> None:
    (run,) = plant.runs()
    assert (run.state, run.reason, run.trigger, run.requested_by) == (
        "promoted",
        "first model",
        "person",
        plant.user.id,
    )
    assert run.step == run.steps > 0 and run.heartbeat_at and run.finished_at
    with reading(plant.engine) as conn:
        live = registry.live(conn, plant.product.id)
        (version,) = registry.versions(conn, plant.product.id)
        assert run.snapshot_id is not None
        snapshot = samples.snapshot(conn, run.snapshot_id)
    assert live and live.certificate and live.config_hash == plant.settings.decision_hash
    certificate = Certificate.from_dict(live.certificate)
    assert certificate.n == len(snapshot.of_role("calibration"))
    assert certificate.calibration_sha256 == snapshot.role_sha256("calibration")
    assert certificate.artifact_sha256 == version.artifact_sha256 == live.artifact_sha256
    assert (certificate.look, certificate.certified_review_rate) == (1, 0.3)
    assert version.state == "champion" and version.metrics["bank_defects"] == DEFECTS


def test_a_good_challenger_is_promoted_at_the_next_look(plant: Plant) -> None:
    plant.change("training", seed=1)
    result = plant.train()
    assert result.report and result.report.evidence.look == result.certificate.look == 2
    assert (result.state, result.report.verdict) == ("promoted", "pass"), result.describe()
    with reading(plant.engine) as conn:
        report = runs.report_of(conn, result.run_id)
        states = {one.number: one.state for one in registry.versions(conn, plant.product.id)}
    assert report and report.numbers["look"] == 2 and report.words == result.report.words
    assert "it rests on the imported images and assumes that the stream looks like them" in result.describe()
    assert states == {1: "retired", 2: "champion"}


def test_a_certificate_names_its_epoch_and_counts_its_looks(plant: Plant) -> None:
    plant.change("training", steps=1)
    with writing(plant.engine) as conn:
        cut = epochs.open(conn, plant.product.id, "camera", "new lamp", now=utc_now())
        calibrating = tables.sample.c.role == "calibration"
        conn.execute(sa.update(tables.sample).where(calibrating).values(epoch_id=cut.id, origin="audit"))
    result = plant.train()
    assert result.certificate.look == 1
    assert f"it rests on audited parts since {cut.opened_at:%Y-%m-%d %H:%M} UTC (epoch {cut.id}" in result.describe()
    with reading(plant.engine) as conn:
        (row,) = registry.certificates(conn, result.version_id)
        assert (row.epoch_id, row.look) == (cut.id, 1)
        assert registry.looks(conn, epoch_id=cut.id) == 1


def test_a_poisoned_challenger_is_rejected_with_its_reason_on_record(plant: Plant) -> None:
    plant.approve(range(20_000, 20_060), defect=True)
    result = plant.train()
    assert result.state == "rejected" and "lost" in result.reason, result.describe()
    (run, _) = plant.runs()
    with reading(plant.engine) as conn:
        newest = registry.versions(conn, plant.product.id)[0]
        report = runs.report_of(conn, run.id)
    assert (run.state, run.reason) == ("rejected", result.reason)
    assert (newest.state, newest.reason) == ("rejected", result.reason)
    assert report and report.verdict == "fail" and report.numbers["neutral"]["lost"] > 1
    assert plant.live_version() == 1


def test_a_bank_too_small_asks_for_a_person(plant: Plant) -> None:
    plant.change("gate", min_defects=DEFECTS + 1)
    result = plant.train()
    assert result.state == "needs_person" and "min_defects" in result.reason
    assert "goodpart models promote 2" in result.describe()
    with reading(plant.engine) as conn:
        assert registry.versions(conn, plant.product.id)[0].state == "candidate"
    assert plant.live_version() == 1


def test_a_product_trains_with_its_own_input_from_the_next_run_on(untrained_plant: Plant) -> None:
    plant = untrained_plant
    plant.change("training", steps=1, overlap=0.25)
    with writing(plant.engine) as conn:
        own = {"width": 96, "fit": "letterbox", "region": [0.0, 0.0, 1.0, 0.5], "columns": 2}
        products.change(conn, plant.product.id, teacher=None, input=own)
    plant.train()
    with reading(plant.engine) as conn:
        (version,) = registry.versions(conn, plant.product.id)
    manifest = from_bytes(plant.blobs.get(version.artifact_sha256)).manifest
    assert manifest.spec == InputSpec(64, 96, "letterbox", (0.0, 0.0, 1.0, 0.5), 1, 2, 0.25)
    assert version.manifest["spec"]["columns"] == 2


def test_beside_a_champion_of_an_older_format_a_person_decides(plant: Plant) -> None:
    plant.change("training", steps=1)
    old = safetensors({"x": torch.zeros(1)}, {"goodpart": '{"format": 1}'})
    sha256 = keep(plant.engine, plant.blobs, old, "application/vnd.safetensors", utc_now())
    with writing(plant.engine) as conn:
        conn.execute(sa.update(tables.model_version).values(artifact_sha256=sha256))
    result = plant.train()
    assert (result.state, result.report) == ("needs_person", None)
    assert "the champion v1 was made by an older goodpart" in result.reason
    assert plant.live_version() == 1


def test_too_few_samples_fail_the_run_with_the_number_needed(untrained_plant: Plant) -> None:
    plant = untrained_plant
    with writing(plant.engine) as conn:
        for one in samples.all(conn, plant.product.id, "calibration"):
            samples.revoke(conn, one.id, utc_now())
    with pytest.raises(TooFewImages, match="are needed"):
        plant.train()
    (run,) = plant.runs()
    assert run.state == "failed" and run.reason and "are needed" in run.reason


def test_a_missing_image_fails_the_run_and_leaves_no_version(untrained_plant: Plant) -> None:
    plant = untrained_plant
    with reading(plant.engine) as conn:
        lost = samples.all(conn, plant.product.id, "calibration")[-1]
    (plant.settings.blobs.directory / lost.blob_sha256[:2] / lost.blob_sha256[2:4] / lost.blob_sha256).unlink()
    plant.change("training", steps=2)
    with pytest.raises(RetrainError, match=f"sample {lost.id} cannot be read"):
        plant.train()
    assert plant.runs()[0].state == "failed"
    assert plant.count(tables.model_version) == plant.count(tables.certificate) == 0


def test_a_run_whose_lease_was_taken_over_promotes_nothing(plant: Plant) -> None:
    plant.change("training", steps=1)

    def steal(step: Step) -> None:
        if step.phase == "comparing":
            with writing(plant.engine) as conn:
                conn.execute(sa.update(tables.lease).values(holder="other", token=tables.lease.c.token + 1))

    with pytest.raises(Cancelled, match="taken over"):
        plant.train(on_progress=steal)
    assert plant.live_version() == 1 and plant.count(tables.model_version) == 1
    assert plant.runs()[0].state == "cancelled"


def test_a_run_cancelled_by_a_person_stops(plant: Plant) -> None:
    plant.change("training", steps=1)

    def cancel(step: Step) -> None:
        if step.phase == "calibrating":
            (run, _) = plant.runs()
            if run.state == "running":
                service.cancel(plant.engine, plant.user, run.id, reason="not now", key="c", now=utc_now())

    with pytest.raises(Cancelled, match="ended from outside"):
        plant.train(on_progress=cancel)
    run = plant.runs()[0]
    assert (run.state, run.reason) == ("cancelled", "not now")
    assert plant.count(tables.model_version) == 1


def test_one_run_at_a_time(plant: Plant) -> None:
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now())
    with pytest.raises(Busy):
        plant.train()


def test_new_samples_start_a_child_that_swaps_the_model(plant: Plant) -> None:
    plant.approve(range(30_000, 30_004))
    scheduler = plant.scheduler()
    try:
        until(lambda: plant.runs()[0].state in ("promoted", "failed", "rejected", "needs_person"))
        until(lambda: bool(plant.live.products))
        until(lambda: scheduler.running is None)
    finally:
        scheduler.stop()
    run, first = plant.runs()
    assert (run.trigger, run.state) == ("samples", "promoted"), run.reason
    assert plant.live_version() == 2 and plant.live.products == [plant.product.id]
    assert run.snapshot_id != first.snapshot_id
    assert run.settings["decision_hash"] == plant.settings.decision_hash
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now()), "the lease was not given back"


def test_kill_9_of_the_child_is_on_record_and_the_next_run_starts_and_ends_with_its_agent(plant: Plant) -> None:
    plant.change("training", steps=100_000)
    asked = service.request(plant.engine, plant.user, plant.product.id, key="1", now=utc_now())
    scheduler = plant.scheduler()
    try:
        until(lambda: plant.runs()[0].phase == "training")
        started = scheduler.running
        assert started
        os.kill(started.process.pid, signal.SIGKILL)
        until(lambda: scheduler.running is None)
        killed = plant.runs()[0]
        assert (killed.state, killed.reason) == ("failed", "its process was killed by signal 9")
        with reading(plant.engine) as conn:
            assert commands.get(conn, asked).state == "failed"
        asked = service.request(plant.engine, plant.user, plant.product.id, key="2", now=utc_now())
        until(lambda: plant.runs()[0].id != killed.id and plant.runs()[0].phase == "training")
    finally:
        scheduler.stop()
    stopped = plant.runs()[0]
    assert stopped.state == "cancelled" and stopped.reason and "stopped" in stopped.reason
    with writing(plant.engine) as conn:
        assert commands.get(conn, asked).result == {"run": stopped.id, "state": "cancelled"}
        assert holding.acquire(conn, utc_now()), "the lease was not given back"
    assert plant.live_version() == 1 and plant.count(tables.model_version) == 1


def test_an_agent_that_died_with_its_child_leaves_a_run_that_the_next_one_ends(plant: Plant) -> None:
    plant.approve(range(30_000, 30_004))
    scheduler = Scheduler(plant.settings, plant.engine, plant.live, utc_now)
    with writing(plant.engine) as conn:
        opened = scheduler._open(conn)
    assert opened

    def later() -> Any:
        return utc_now() + holding.TTL + timedelta(seconds=1)

    early = Scheduler(plant.settings, plant.engine, plant.live, utc_now)
    late = Scheduler(plant.settings, plant.engine, plant.live, later)
    with writing(plant.engine) as conn:
        assert early._open(conn) is None, "two agents must not train at once"
    with writing(plant.engine) as conn:
        again = late._open(conn)
    assert again and again[0] != opened[0] and again[2].token > opened[2].token
    assert [run.state for run in plant.runs()[:2]] == ["queued", "failed"]


def test_the_child_ends_when_its_agent_is_killed(plant: Plant) -> None:
    plant.change("training", steps=100_000)
    plant.approve(range(30_000, 30_004))
    with writing(plant.engine) as conn:
        opened = Scheduler(plant.settings, plant.engine, plant.live, utc_now)._open(conn)
    assert opened
    command = shlex.join(job.command(opened[0], opened[2])[:-1])
    agent = subprocess.Popen(["sh", "-c", f"{command} $$ & wait"], env=job.environment(plant.settings))
    try:
        until(lambda: plant.runs()[0].phase == "training")
    finally:
        agent.kill()
        agent.wait()
    until(lambda: plant.runs()[0].state == "cancelled")
    assert plant.runs()[0].reason == "the agent that started it is gone"

    def free() -> bool:
        with writing(plant.engine) as conn:
            return holding.acquire(conn, utc_now()) is not None

    until(free, seconds=20)  # well before the lease would run out
