"""The loop with real, tiny trainings: first model, challenger, gate, warm start, interruption, child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from safetensors.torch import save as safetensors

from agent.retrain import holding
from agent.retrain.errors import Busy, Cancelled, Interrupted, RetrainError, TooFewImages
from agent.retrain.progress import Step
from agent.service import retrain as service
from agent.settings import utc_now
from agent.store import (
    ancestry,
    certificates,
    epochs,
    normals,
    products,
    registry,
    runs,
    samples,
    snapshots,
    tables,
)
from agent.store.blobs import keep
from agent.store.engine import reading, writing
from model.artifact import from_bytes
from model.certificate import Certificate
from model.images import InputSpec, decode
from tests.integration.retrain_parts import DEFECTS, Plant, until

pytestmark = pytest.mark.usefixtures("narrow")


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
        snapshot = snapshots.get(conn, run.snapshot_id)
    assert live and live.certificate and live.config_hash == plant.settings.decision_hash
    certificate = Certificate.from_dict(live.certificate)
    assert certificate.n == len(snapshot.of_role("calibration"))
    assert certificate.calibration_sha256 == snapshot.role_sha256("calibration")
    assert certificate.artifact_sha256 == version.artifact_sha256 == live.artifact_sha256
    assert (certificate.look, certificate.certified_review_rate) == (1, 0.3)
    assert version.state == "champion" and version.metrics["bank_defects"] == DEFECTS


def test_its_train_samples_can_be_compared_with_parts_of_the_stream(plant: Plant) -> None:
    with reading(plant.engine) as conn:
        live = registry.live(conn, plant.product.id)
        train = [one.id for one in samples.all(conn, plant.product.id, "train")]
        assert live
        space = from_bytes(plant.blobs.get(live.artifact_sha256)).manifest.space
        found = normals.of_product(conn, plant.product.id, space, 1000)
        assert len(found) == len(train) and normals.known(conn, train, space) == set(train)
    for one in found:
        assert decode(plant.blobs.get(one.small)).shape[2] == 3 and one.full != one.small
        assert np.linalg.norm(np.frombuffer(one.features, "<f2").astype(float)) == pytest.approx(1, abs=1e-2)


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
    pace = result.report.evidence.pace
    assert pace.rounds > 0 and pace.batch == plant.settings.pipeline.batch_size
    assert "a frame takes the challenger" in report.words
    assert report.numbers["pace"]["allowed"] == plant.settings.gate.slowdown


def test_a_challenger_that_is_too_slow_waits_for_a_person(plant: Plant) -> None:
    plant.change("training", seed=1)
    plant.change("gate", slowdown=1e-6)  # nothing is as fast as that
    result = plant.train()
    assert result.state == "needs_person" and "allowed gate.slowdown = 1e-06" in result.reason
    assert plant.live_version() == 1


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
        (row,) = certificates.of_version(conn, result.version_id)
        assert (row.epoch_id, row.look) == (cut.id, 1)
        assert certificates.looks(conn, epoch_id=cut.id) == 1


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

    with pytest.raises(Interrupted, match="taken over"):
        plant.train(on_progress=steal)
    assert plant.live_version() == 1 and plant.count(tables.model_version) == 1
    assert plant.runs()[0].state == "running", "whoever took the lease has the run"


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
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now()), "the lease was not given back"


def test_a_run_cancelled_just_before_its_verdict_is_cancelled(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.change("training", steps=1)

    def cancel(name: str) -> None:
        if name == "train.verdict":
            run = plant.runs()[0]
            service.cancel(plant.engine, plant.user, run.id, reason="not now", key="c", now=utc_now())

    monkeypatch.setattr("agent.retrain.work.passing", cancel)
    with pytest.raises(Cancelled, match="ended from outside"):
        plant.train()
    assert (plant.runs()[0].state, plant.runs()[0].reason) == ("cancelled", "not now")
    assert plant.count(tables.model_version) == 1


def test_an_interrupted_run_goes_on_from_its_checkpoint_to_the_same_artifact(
    untrained_plant: Plant, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, kept = untrained_plant, untrained_plant.settings.retrain.directory
    monkeypatch.setattr("model.fitting.LOOK_EVERY", 4)
    monkeypatch.setattr("agent.retrain.progress.WRITE_EVERY", 4)

    def strike(step: Step) -> None:
        if (step.phase, step.step) == ("training", 9):
            raise Interrupted("the lights went out", crashed=True)

    with pytest.raises(Interrupted):
        plant.train(on_progress=strike)
    (run,) = plant.runs()
    assert (run.state, run.attempts, run.reason) == ("queued", 1, "attempt 1: the lights went out")
    (path,) = kept.iterdir()
    assert path.name.startswith(f"run-{run.id}-")
    heard: list[Step] = []
    result = plant.train(on_progress=heard.append)
    assert min(one.step for one in heard if one.phase == "training") > 4, "it began anew"
    assert result.run_id == run.id and result.state == "promoted"
    (run,) = plant.runs()
    assert (run.attempts, [step for step, _ in run.losses or ()]) == (2, list(range(1, 13)))
    assert not list(kept.iterdir())
    unbroken = Plant(trained)
    with reading(plant.engine) as conn, reading(unbroken.engine) as other:
        (version,) = registry.versions(conn, plant.product.id)
        (wanted,) = registry.versions(other, unbroken.product.id)
    unbroken.engine.dispose()
    assert version.manifest["weights_sha256"] == wanted.manifest["weights_sha256"]
    assert (version.number, version.artifact_sha256) == (wanted.number, wanted.artifact_sha256)
    assert version.manifest["settings"]["threads"] == 1 and version.manifest["settings"]["machine"]


def test_a_checkpoint_of_other_settings_is_dropped(untrained_plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = untrained_plant
    monkeypatch.setattr("model.fitting.LOOK_EVERY", 2)
    plant.change("training", steps=3)

    def strike(step: Step) -> None:
        if (step.phase, step.step) == ("training", 3):
            raise Interrupted("the lights went out")

    with pytest.raises(Interrupted):
        plant.train(on_progress=strike)
    plant.change("training", steps=4)
    heard: list[Step] = []
    assert plant.train(on_progress=heard.append).state == "promoted"
    assert [one.step for one in heard if one.phase == "training"] == [1, 2, 3, 4]


def test_a_warm_start_names_its_parent_and_a_revoked_sample_forces_a_cold_one(plant: Plant) -> None:
    plant.change("training", steps=1)
    plant.change("retrain", warm=True)
    plant.train()
    with reading(plant.engine) as conn:
        child, parent = registry.versions(conn, plant.product.id)
        trained_on = samples.all(conn, plant.product.id, "train")
    assert (child.parent_id, parent.parent_id) == (parent.id, None)
    assert child.manifest["parent_sha256"] == parent.manifest["weights_sha256"]
    plant.train(cold=True)
    with writing(plant.engine) as conn:
        samples.revoke(conn, trained_on[0].id, utc_now())
        assert ancestry.spoiled(conn, child.id) == [trained_on[0].id]
        registry.promote(
            conn, version_id=child.id, certificate_id=None, config_hash="0" * 64, reason="r", by=plant.user.id,
            now=utc_now(),
        )  # fmt: skip
    plant.train()
    with reading(plant.engine) as conn:
        clean, cold, *_ = registry.versions(conn, plant.product.id)
        assert ancestry.spoiled(conn, clean.id) == []
    assert (clean.parent_id, cold.parent_id) == (None, None)


def test_a_taught_product_waits_for_a_look_at_what_scored_highest(untrained_plant: Plant) -> None:
    plant = untrained_plant
    plant.change("training", steps=1)
    result = plant.train(trigger="teach")
    assert result.state == "needs_person" and "look at the" in result.reason
    assert plant.live_version() is None
    assert "goodpart models calibration 1 --product disc" in result.describe()


def test_one_run_at_a_time(plant: Plant) -> None:
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now())
    with pytest.raises(Busy):
        plant.train()


def test_new_samples_start_one_child_of_two_agents_that_swaps_the_model(plant: Plant) -> None:
    plant.approve(range(30_000, 30_004))
    agents = [plant.scheduler(), plant.scheduler()]
    try:
        until(lambda: plant.runs()[0].state in ("promoted", "failed", "rejected", "needs_person"))
        until(lambda: bool(plant.live.products))
        until(lambda: all(agent.running is None for agent in agents))
    finally:
        for agent in agents:
            agent.stop()
    run, first = plant.runs()
    assert (run.trigger, run.state) == ("samples", "promoted"), run.reason
    assert plant.live_version() == 2 and plant.live.products == [plant.product.id]
    assert run.snapshot_id != first.snapshot_id
    assert run.settings["decision_hash"] == plant.settings.decision_hash
    with writing(plant.engine) as conn:
        assert holding.acquire(conn, utc_now()), "the lease was not given back"
