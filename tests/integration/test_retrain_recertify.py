"""What calibrated a version: shown, taken out, and certified anew without it; on real, tiny trainings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.cli import models as models_cli
from agent.cli import retrain as retrain_cli
from agent.cli.common import Acting, CommandError, Common
from agent.retrain import recertifying
from agent.retrain.bench import Bench
from agent.retrain.due import Due
from agent.retrain.rescoring import Rescored, rescore
from agent.retrain.run import open_run
from agent.service import PermissionDenied, models
from agent.settings import utc_now
from agent.store import (
    audit,
    calibration,
    certificates,
    commands,
    lesson,
    registry,
    samples,
    tables,
)
from agent.store.commands import Command
from agent.store.engine import Conflict, reading, writing
from model.certificate import Certificate, CertificateError
from model.images import decode
from tests.integration.retrain_parts import SIDE, Plant

pytestmark = pytest.mark.usefixtures("narrow")


def test_a_certificate_is_made_anew_without_the_calibration_parts_that_were_taken_out(plant: Plant) -> None:
    with reading(plant.engine) as conn:
        (version,) = registry.versions(conn, plant.product.id)
        before = registry.live(conn, plant.product.id)
        scores = calibration.scores_of(conn, version.id)
        top = calibration.top(conn, version.id, calibration.worth_a_look(3), "frame")
    assert before and before.certificate
    certificate = Certificate.from_dict(before.certificate)
    assert sorted(scores.values()) == list(certificate.scores)
    assert [one.score for one in top] == list(certificate.scores[:-7:-1]) and all(one.usable for one in top)

    def again(key: str) -> recertifying.Recertified:
        return recertifying.recertify(plant.engine, plant.user, version.id, "scratched", key=key, now=utc_now())

    with pytest.raises(recertifying.NotRecertifiable, match="stands"):
        again("1")
    with writing(plant.engine) as conn:
        samples.revoke(conn, top[0].sample_id, utc_now())
    made = again("2")
    assert (made.dropped, made.certificate.n, made.certificate.look) == (1, certificate.n - 1, certificate.look)
    assert made.certificate.scores == certificate.scores[:-1]
    assert made.certificate.calibration_sha256 != certificate.calibration_sha256
    with reading(plant.engine) as conn:
        live = registry.live(conn, plant.product.id)
        assert not calibration.top(conn, version.id, 1, "frame")[0].usable
        assert [one.action for one in audit.recent(conn)[:2]] == ["model.recertify", "model.promote"]
        newest, first = certificates.of_version(conn, version.id)
        assert newest.epoch_id == first.epoch_id is not None
        assert certificates.looks(conn, epoch_id=newest.epoch_id) == 1
    assert live and live.id == made.deployment_id != before.id
    assert live.certificate == made.certificate.to_dict() and live.number == 1
    with pytest.raises(recertifying.NotRecertifiable, match="stands"):
        again("3")


def test_a_version_is_certified_for_what_scores_now_at_the_same_look(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with reading(plant.engine) as conn:
        (version,) = registry.versions(conn, plant.product.id)
        live = registry.live(conn, plant.product.id)
        scores = calibration.scores_of(conn, version.id)
    assert live and live.certificate
    before = Certificate.from_dict(live.certificate)
    plant.change("scoring", precision="bf16")
    found = rescore(Bench(plant.engine, plant.blobs, plant.settings, utc_now, 1), version.id)
    assert found.scores.keys() == scores.keys() and found.scores != scores

    def again(key: str, scored: Rescored = found) -> recertifying.Recertified:
        return recertifying.recertify(
            plant.engine, plant.user, version.id, "bf16", rescored=scored, key=key, now=utc_now()
        )

    with pytest.raises(CertificateError, match=f"1 of {before.n} calibration scores are not finite"):
        again("0", replace(found, scores={**found.scores, min(scores): math.nan}))
    with reading(plant.engine) as conn:
        assert calibration.scores_of(conn, version.id) == scores, "nothing is changed"
    made = again("1").certificate
    assert (made.n, made.look, made.review_k) == (before.n, before.look, before.review_k)
    assert made.fingerprint == found.fingerprint != before.fingerprint
    assert made.calibration_sha256 == before.calibration_sha256
    assert list(made.scores) == sorted(found.scores.values())
    with reading(plant.engine) as conn:
        live = registry.live(conn, plant.product.id)
        assert calibration.scores_of(conn, version.id) == found.scores
        assert certificates.looks(conn, epoch_id=certificates.of_version(conn, version.id)[0].epoch_id) == 1
    assert live and live.certificate == made.to_dict()
    with pytest.raises(recertifying.NotRecertifiable, match="speaks of what scores here"):
        again("2")

    config, training = tmp_path / "config.toml", plant.settings.training
    config.write_text(
        f'[database]\nurl = "{plant.settings.database.url}"\n[redis]\nurl = ""\n'
        f'[blobs]\ndirectory = "{plant.settings.blobs.directory}"\n'
        f"[training]\nheight = {training.height}\nwidth = {training.width}\n"
        '[scoring]\ndevice = "cpu"\nprecision = "fp32"\nthreads = 1\n'
    )
    models_cli.recertify(1, product="disc", reason="back", rescore=True, json=True, acting=Acting(config, by="eve"))
    said = json.loads(capsys.readouterr().out)
    assert said["live"] and said["dropped"] == 0 and said["certificate"]["fingerprint"] == before.fingerprint
    assert said["certificate"]["scores"] == pytest.approx(before.scores)


def test_an_agent_certifies_anew_when_a_page_asks_for_it(plant: Plant) -> None:
    with reading(plant.engine) as conn:
        (version,) = registry.versions(conn, plant.product.id)
        first = lesson.top_calibration(conn, version.id)[0].sample_id

    def ask(key: str) -> Command:
        asked = models.ask_recertify(plant.engine, plant.user, version.id, "scratched", key=key, now=utc_now())
        with pytest.raises(Conflict, match="asked for this already"):
            models.ask_recertify(plant.engine, plant.user, version.id, "again", key=f"{key}+", now=utc_now())
        assert recertifying.do_next(plant.engine, utc_now()) == (plant.product.id if key == "2" else None)
        with reading(plant.engine) as conn:
            return commands.get(conn, asked)

    assert recertifying.do_next(plant.engine, utc_now()) is None  # nobody asked
    failed = ask("1")
    assert failed.state == "failed" and failed.result and "stands" in failed.result["problem"]
    with writing(plant.engine) as conn:
        samples.revoke(conn, first, utc_now())
    with reading(plant.engine) as conn:
        assert calibration.taken_out(conn, plant.product.id) == {version.id: 1}
        before = registry.live(conn, plant.product.id)
    done = ask("2")
    assert (done.state, done.result) == ("done", {"dropped": 1, "live": True})
    with reading(plant.engine) as conn:
        live = registry.live(conn, plant.product.id)
        assert calibration.taken_out(conn, plant.product.id) == {}
        (newest, _), (event, *_) = certificates.of_version(conn, version.id), audit.recent(conn)
    assert live and before and live.id != before.id and live.certificate_id == newest.id
    assert (event.action, event.user_id, event.detail["reason"]) == ("model.recertify", plant.user.id, "scratched")


def test_who_is_no_engineer_any_more_certifies_nothing(plant: Plant) -> None:
    with reading(plant.engine) as conn:
        (version,) = registry.versions(conn, plant.product.id)
        first = lesson.top_calibration(conn, version.id)[0].sample_id
    asked = models.ask_recertify(plant.engine, plant.user, version.id, "scratched", key="1", now=utc_now())
    with writing(plant.engine) as conn:
        samples.revoke(conn, first, utc_now())
        conn.execute(sa.update(tables.user).values(role="viewer"))
    assert recertifying.do_next(plant.engine, utc_now()) is None
    with reading(plant.engine) as conn:
        found = commands.get(conn, asked)
        assert len(certificates.of_version(conn, version.id)) == 1
    assert found.state == "failed" and found.result and "viewer" in found.result["problem"]
    with pytest.raises(PermissionDenied):
        models.ask_recertify(plant.engine, plant.user, version.id, "again", key="2", now=utc_now())


def test_the_command_line_shows_runs_and_what_calibrated_and_ends_a_run(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.toml"
    blobs = plant.settings.blobs.directory
    config.write_text(
        f'[database]\nurl = "{plant.settings.database.url}"\n[redis]\nurl = ""\n[blobs]\ndirectory = "{blobs}"\n'
    )
    common, acting = Common(config), Acting(config, by="eve")

    def said() -> Any:
        return json.loads(capsys.readouterr().out)

    models_cli.runs_(product="disc", json=True, common=common)
    (row,) = said()
    assert (row["state"], row["attempts"], row["percent"], row["eta_s"]) == ("promoted", 1, 100, None)
    with writing(plant.engine) as conn:
        opened = open_run(conn, plant.settings, Due(plant.product.id, "cron"), utc_now())
    retrain_cli.cancel(opened.id, reason="mistake", acting=acting)
    assert "is cancelled" in capsys.readouterr().out and plant.runs()[0].reason == "mistake"
    models_cli.calibration(1, product="disc", json=True, common=common)
    rows = said()
    above = [one for one in rows if one["score"] > one["threshold"]]
    assert len(above) < len(rows) == calibration.worth_a_look(len(above) + 1)
    models_cli.calibration(1, product="disc", out=tmp_path / "looks", json=True, common=common)
    assert [one["sample"] for one in said()] == [one["sample"] for one in rows]
    shown = sorted((tmp_path / "looks").iterdir())
    assert [one.name for one in shown[:1]] == [f"01-sample-{rows[0]['sample']}.png"] and len(shown) == len(rows)
    assert decode(shown[0].read_bytes()).shape == (SIDE, 2 * SIDE, 3), "beside its heatmap"
    with writing(plant.engine) as conn:
        samples.revoke(conn, rows[0]["sample"], utc_now())
    models_cli.recertify(1, product="disc", reason="scratched", json=True, acting=acting)
    made = said()
    assert (made["dropped"], made["live"]) == (1, True)
    models_cli.calibration(1, product="disc", json=True, common=common)
    assert [one["usable"] for one in said()][:2] == [False, True]
    with pytest.raises(CommandError, match="no version v2"):
        models_cli.calibration(2, product="disc", common=common)
