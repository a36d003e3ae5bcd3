"""Samples, snapshots, model versions, deployments and training runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from agent.store import audit, calibration, certificates, epochs, products, registry, runs, samples, snapshots, stations
from agent.store.calibration import Shown
from agent.store.engine import Conflict, NotFound, writing
from agent.store.registry import ModelVersion
from agent.store.samples import NewSample
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")


def _sample(here: Line, conn: Connection, number: int, role: str = "train", origin: str = "import") -> NewSample:
    add_blob(conn, number)
    return NewSample(here.product_id, role, origin, sha(number), sha(number + 1000), serial=f"s{number}")


def _version(here: Line, conn: Connection, number: int) -> ModelVersion:
    artifact = add_blob(conn, 5000 + number)
    made = registry.add_version(
        conn, product_id=here.product_id, artifact_sha256=artifact, teacher="resnet18", manifest={"size": 256}, now=NOW
    )
    assert (made.number, made.state) == (number, "candidate")
    return made


def _certify(conn: Connection, version: ModelVersion, look: int = 1) -> int:
    record = {"look": look, "n": 82, "calibration_sha256": "c" * 64, "review_threshold": 1.5}
    return certificates.add(conn, version_id=version.id, record=record, now=NOW)


def test_identical_pixels_keep_their_first_role(here: Line) -> None:
    with writing(here.engine) as conn:
        new = _sample(here, conn, 1)
        first = samples.add(conn, new, NOW)
        again = samples.add(conn, replace(new, role="calibration", origin="audit"), NOW + timedelta(days=1))
        assert again == first
        other = products.add(conn, "bracket", now=NOW).id
        assert samples.add(conn, replace(new, product_id=other), NOW).id != first.id
        assert samples.counts(conn, here.product_id) == {"train": 1, "calibration": 0, "holdout": 0, "defect": 0}


def test_a_revoked_sample_comes_back_with_its_new_role_and_old_snapshots_keep_the_old_one(here: Line) -> None:
    with writing(here.engine) as conn:
        new = _sample(here, conn, 1)
        first = samples.add(conn, new, NOW)
        before = snapshots.freeze(conn, here.product_id, NOW)
        samples.revoke(conn, first.id, NOW)
        with pytest.raises(Conflict, match="revoked already"):
            samples.revoke(conn, first.id, NOW)
        assert samples.all(conn, here.product_id) == []
        assert [one.id for one in samples.all(conn, here.product_id, revoked=True)] == [first.id]
        with pytest.raises(Conflict, match="import a folder"):
            snapshots.freeze(conn, here.product_id, NOW)
        back = samples.add(conn, replace(new, role="defect", reason="scratch"), NOW)
        assert (back.id, back.role, back.revoked_at) == (first.id, "defect", None)
        after = snapshots.freeze(conn, here.product_id, NOW)
        assert after.sha256 != before.sha256
        kept = snapshots.get(conn, before.id)
        assert [one.role for one in kept.samples] == ["train"]
        assert kept.role_sha256("train") == before.role_sha256("train")
        with pytest.raises(NotFound):
            snapshots.get(conn, 99)


@pytest.mark.parametrize("change", [{"serial": "other"}, {"origin": "flagged"}, {"lot": "L7"}])
def test_a_snapshot_is_of_the_parts_as_they_were_frozen(here: Line, change: dict[str, Any]) -> None:
    """Serials divide the training and are a certificate's units, so another part's is another training."""
    with writing(here.engine) as conn:
        new = _sample(here, conn, 1)
        first = samples.add(conn, new, NOW)
        before = snapshots.freeze(conn, here.product_id, NOW)
        samples.revoke(conn, first.id, NOW)
        samples.add(conn, replace(new, **change), NOW + timedelta(days=1))
        (kept,) = snapshots.get(conn, before.id).samples
        assert (kept.serial, kept.origin, kept.lot) == (first.serial, first.origin, first.lot)
        assert snapshots.get(conn, before.id).role_sha256("train") == before.role_sha256("train")
        assert snapshots.gone(conn, before.id) == [first.id]
        after = snapshots.freeze(conn, here.product_id, NOW)
        assert after.id != before.id and after.sha256 != before.sha256
        assert after.role_sha256("train") != before.role_sha256("train")
        assert snapshots.gone(conn, after.id) == []


def test_a_part_in_another_epoch_is_another_snapshot(here: Line) -> None:
    with writing(here.engine) as conn:
        old = epochs.of_import(conn, here.product_id, NOW).id
        new = replace(_sample(here, conn, 1, "calibration"), epoch_id=old)
        first = samples.add(conn, new, NOW)
        before = snapshots.freeze(conn, here.product_id, NOW, epoch_id=old)
        samples.revoke(conn, first.id, NOW)
        later = epochs.open(conn, here.product_id, "camera", "new lamp", now=NOW)
        samples.add(conn, replace(new, epoch_id=later.id), NOW)
        assert snapshots.get(conn, before.id).epoch_id == old
        assert snapshots.freeze(conn, here.product_id, NOW, epoch_id=later.id).sha256 != before.sha256
        assert snapshots.gone(conn, before.id) == [first.id]


def test_a_snapshot_names_its_samples_whatever_the_order_they_came_in(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        epoch, others = (epochs.of_import(conn, product_id, NOW).id for product_id in (here.product_id, other))
        rows = [_sample(here, conn, n, role) for n, role in enumerate(["train", "calibration", "train", "defect"])]
        for row in rows:
            samples.add(conn, replace(row, epoch_id=epoch), NOW)
        first = snapshots.freeze(conn, here.product_id, NOW, epoch_id=epoch)
        assert snapshots.freeze(conn, here.product_id, NOW + timedelta(days=1), epoch_id=epoch) == first
        for row in rows[::-1]:
            samples.add(conn, replace(row, product_id=other, epoch_id=others), NOW)
        backwards = snapshots.freeze(conn, other, NOW, epoch_id=others)
        assert [one.pixels_sha256 for one in backwards.samples] == [one.pixels_sha256 for one in first.samples]
        assert len(first.of_role("train")) == 2
        assert first.is_of_role(first.role_sha256("calibration"), "calibration")
        of_before = json.dumps([["calibration", rows[1].pixels_sha256]], separators=(",", ":")).encode()
        assert first.is_of_role(hashlib.sha256(of_before).hexdigest(), "calibration")
        assert not first.is_of_role(first.role_sha256("train"), "calibration")
        assert first.role_sha256("train") != first.role_sha256("calibration")
        assert snapshots.get(conn, first.id) == first


def test_new_samples_are_normals_of_the_stream(here: Line) -> None:
    with writing(here.engine) as conn:
        later, epoch = NOW + timedelta(hours=1), epochs.of_import(conn, here.product_id, NOW).id
        rows = [("train", "import"), ("train", "flagged"), ("calibration", "audit"), ("defect", "flagged")]
        for number, (role, origin) in enumerate(rows):
            samples.add(conn, replace(_sample(here, conn, number, role, origin), epoch_id=epoch), later)
        assert len(samples.came(conn, here.product_id, None, epoch_id=epoch)) == 2
        assert len(samples.came(conn, here.product_id, NOW, epoch_id=epoch)) == 2
        assert len(samples.came(conn, here.product_id, NOW)) == 1, "calibration of no epoch is of no use"
        assert len(samples.came(conn, here.product_id, later, epoch_id=epoch)) == 0
        assert samples.roles_of_serial(conn, here.product_id, "s2") == {"calibration"}


def test_promotion_closes_one_deployment_and_opens_the_next(here: Line) -> None:
    with writing(here.engine) as conn:
        first, second = _version(here, conn, 1), _version(here, conn, 2)
        assert registry.live(conn, here.product_id) is None
        certificate = _certify(conn, first)
        one = registry.promote(
            conn, version_id=first.id, certificate_id=certificate, config_hash="a" * 64, reason="first model", by=None,
            now=NOW,
        )  # fmt: skip
        assert one.certificate is not None
        assert (one.number, one.artifact_sha256, one.certificate["n"]) == (1, first.artifact_sha256, 82)
        later = NOW + timedelta(hours=1)
        two = registry.promote(
            conn, version_id=second.id, certificate_id=None, config_hash="a" * 64, reason="better", by=here.engineer.id,
            now=later,
        )  # fmt: skip
        assert registry.live_all(conn) == {here.product_id: two}
        assert [d.live_until for d in registry.deployments(conn, here.product_id)] == [None, later]
        assert [v.state for v in registry.versions(conn, here.product_id)] == ["champion", "retired"]
        event = audit.recent(conn)[0]
        assert (event.action, event.user_id, event.detail["replaces"]) == ("model.promote", here.engineer.id, one.id)


def test_the_gate_promotes_candidates_only_and_no_foreign_certificate(here: Line) -> None:
    with writing(here.engine) as conn:
        first, second = _version(here, conn, 1), _version(here, conn, 2)
        certificate = _certify(conn, first)
        how = {"config_hash": "a" * 64, "reason": "r", "now": NOW}
        with pytest.raises(Conflict, match="not one of version 2"):
            registry.promote(conn, version_id=second.id, certificate_id=certificate, by=None, **how)  # type: ignore[arg-type]
        registry.reject(conn, first.id, "lost defects")
        with pytest.raises(Conflict, match="not a candidate"):
            registry.reject(conn, first.id, "again")
        with pytest.raises(Conflict, match="only a person"):
            registry.promote(conn, version_id=first.id, certificate_id=None, by=None, **how)  # type: ignore[arg-type]
        made = registry.promote(conn, version_id=first.id, certificate_id=None, by=here.engineer.id, **how)  # type: ignore[arg-type]
        assert made.model_version_id == first.id
        with pytest.raises(NotFound):
            registry.promote(conn, version_id=99, certificate_id=None, by=None, **how)  # type: ignore[arg-type]


def test_each_rollback_goes_one_model_further_back(here: Line) -> None:
    with writing(here.engine) as conn:
        versions = [_version(here, conn, number) for number in (1, 2, 3)]
        for version in versions:
            registry.promote(
                conn, version_id=version.id, certificate_id=_certify(conn, version), config_hash=sha(version.id),
                reason="r", by=None, now=NOW,
            )  # fmt: skip
        for number in (2, 1):
            made = registry.rollback(conn, product_id=here.product_id, reason="false alarms", by=None, now=NOW)
            assert (made.number, made.config_hash) == (number, sha(versions[number - 1].id))
            assert registry.version(conn, versions[number].id).state == "rejected"
        with pytest.raises(Conflict, match="no earlier model"):
            registry.rollback(conn, product_id=here.product_id, reason="r", by=None, now=NOW)


def test_a_run_from_request_to_end(here: Line) -> None:
    with writing(here.engine) as conn:
        samples.add(conn, _sample(here, conn, 1), NOW)
        snapshot = snapshots.freeze(conn, here.product_id, NOW)
        run = runs.open(conn, product_id=here.product_id, trigger="samples", settings={"seed": 0}, now=NOW)
        assert (run.state, runs.running(conn)) == ("queued", [run])
        runs.start(conn, run.id, snapshot.id, NOW)
        later = NOW + timedelta(minutes=1)
        assert runs.progress(conn, run.id, phase="training", step=3, steps=10, loss=0.5, eta_s=7.0, now=later)
        runs.start(conn, run.id, snapshot.id, later)
        found = runs.get(conn, run.id)
        assert (found.state, found.started_at, found.heartbeat_at, found.step) == ("running", NOW, later, 3)
        version = _version(here, conn, 1)
        runs.add_report(
            conn, run_id=run.id, version_id=version.id, verdict="pass", words="all well", numbers={"lost": 0}, now=NOW
        )
        assert runs.judged(conn, here.product_id) is None
        runs.close(conn, run.id, "promoted", "first model", later)
        assert runs.running(conn) == []
        assert runs.judged(conn, here.product_id) == runs.get(conn, run.id)
        assert runs.all(conn, here.product_id)[0].reason == "first model"
        report = runs.report_of(conn, run.id)
        assert report is not None
        assert (report.verdict, report.numbers) == ("pass", {"lost": 0})
        assert runs.report_of(conn, 99) is None
        runs.add_report(
            conn, run_id=run.id, version_id=version.id, verdict="fail", words="again", numbers={}, now=later
        )
        assert {n: one.words for n, one in runs.reports_of(conn, [run.id, 99]).items()} == {run.id: "again"}


def test_how_its_processes_left_a_run_stays_on_record(here: Line) -> None:
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=here.product_id, trigger="samples", settings={"seed": 0}, now=NOW)
        for how, crashed in (("killed", True), ("stopped", False), ("killed again", True)):
            run = runs.take(conn, run.id, {**run.settings, "seed": 1}, NOW)
            assert runs.leave(conn, run.id, how, NOW, crashed=crashed)
            run = runs.get(conn, run.id)
        runs.take(conn, run.id, {**run.settings}, NOW)
        runs.close(conn, run.id, "promoted", "first model", NOW)
        run = runs.get(conn, run.id)
        assert run.ends == ["attempt 1: killed", "stopped", "attempt 2: killed again"]
        assert (run.state, run.reason, run.attempts) == ("promoted", "first model", 3)
        assert run.settings["ends"][0]["at"] == NOW.isoformat()
        assert runs.open(conn, product_id=here.product_id, trigger="cron", settings={}, now=NOW).ends == []


def test_a_cancelled_run_hears_of_it_at_its_next_progress(here: Line) -> None:
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        runs.close(conn, run.id, "cancelled", "not now", NOW)
        assert not runs.progress(conn, run.id, phase="training", now=NOW)
        with pytest.raises(Conflict, match="ended already"):
            runs.close(conn, run.id, "promoted", "r", NOW)
        with pytest.raises(Conflict, match="not waiting"):
            runs.start(conn, run.id, None, NOW)


def test_the_highest_parts_are_shown_by_their_highest_image(here: Line) -> None:
    """One serial at two stations is two parts; a part is as high as the highest of its images."""
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", product_id=here.product_id, now=NOW).id
        version = _version(here, conn, 1)
        made = []
        for number in range(6):
            new = replace(
                _sample(here, conn, number, "calibration", "audit"), serial=f"p{number // 3}",
                station_id=other if number == 2 else here.station_id,
            )  # fmt: skip
            made.append(samples.add(conn, new, NOW).id)
        scores = dict(zip(made, (1.0, 4.0, 3.0, 2.0, 2.0, 0.5), strict=True))
        shown = {made[1]: Shown(add_blob(conn, 70), add_blob(conn, 71))}
        calibration.add_all(conn, version.id, scores, shown)
        top = calibration.top(conn, version.id, 5, "part")
        assert [(one.serial, one.station, one.score, one.frames, one.sample_id) for one in top] == [
            ("p0", "press-1", 4.0, 2, made[1]), ("p0", "press-2", 3.0, 1, made[2]), ("p1", "press-1", 2.0, 3, made[3]),
        ]  # fmt: skip
        assert (top[0].preview_sha256, top[0].overlay_sha256, top[1].overlay_sha256) == (sha(70), sha(71), None)
        assert [one.sample_id for one in calibration.top(conn, version.id, 2, "frame")] == made[1:3]
        assert [one.frames for one in calibration.top(conn, version.id, 9, "frame")] == [1] * 6
        samples.revoke(conn, made[1], NOW)
        seen = [(one.sample_id, one.usable) for one in calibration.top(conn, version.id, 2, "frame")]
        assert seen == [(made[1], False), (made[2], True), (made[3], True)], "there are two to look at still"


def test_what_left_a_calibration_set_is_counted_since_the_newest_certificate(here: Line) -> None:
    later = NOW + timedelta(hours=1)
    with writing(here.engine) as conn:
        version = _version(here, conn, 1)
        made = [samples.add(conn, _sample(here, conn, number, "calibration"), NOW).id for number in range(3)]
        calibration.add_all(conn, version.id, dict.fromkeys(made, 1.0))
        samples.revoke(conn, made[0], NOW)
        record = {"look": 1, "n": 2, "calibration_sha256": "c" * 64}
        certificates.add(conn, version_id=version.id, record=record, now=NOW + timedelta(minutes=1))
        assert calibration.taken_out(conn, here.product_id) == {}, "what left before it is in no certificate"
        samples.revoke(conn, made[1], later)
        assert calibration.taken_out(conn, here.product_id) == {version.id: 1}
        again = NewSample(here.product_id, "defect", "import", sha(1), sha(1001), reason="blot")
        assert samples.add(conn, again, later).id == made[1]  # as a withdrawal does
        assert calibration.taken_out(conn, here.product_id) == {version.id: 1}
        certificates.add(conn, version_id=version.id, record=record, now=later + timedelta(minutes=1))
        assert calibration.taken_out(conn, here.product_id) == {}
