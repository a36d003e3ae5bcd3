from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from agent.retrain import standalone
from agent.retrain.errors import TooFewImages
from agent.retrain.standalone import evaluate_folder, train_folder
from model.artifact import load
from model.certificate import Certificate
from model.images import FolderError, ImageError, InputError
from tests.integration.retrain_parts import folder, tiny


def test_a_folder_becomes_a_model_file_with_its_certificate_and_figures(tmp_path: Path) -> None:
    images, out = folder(tmp_path / "images", 60, defects=4), tmp_path / "disc.safetensors"
    for i in range(4):
        (images / "test" / "good").mkdir(exist_ok=True)
        (images / "test" / "good" / f"{i}.png").write_bytes((images / "train" / "good" / f"{i:03}.png").read_bytes())
    settings = tiny(tmp_path)
    trained = train_folder(images, settings, out=out)
    assert trained.certificate.n == 24 and trained.certificate.certified
    assert trained.certificate.artifact_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    written = json.loads((tmp_path / "disc.certificate.json").read_text())
    assert Certificate.from_dict(written) == trained.certificate
    assert load(out).manifest.settings["images"] == 36
    assert trained.evaluation and trained.to_dict()["evaluation"]
    again = evaluate_folder(out, images, settings)
    assert again.image_auroc == pytest.approx(trained.evaluation.image_auroc)
    assert trained.evaluation.image_auroc > 0.8
    assert not list(tmp_path.glob(".*"))


def test_the_report_has_the_thresholds_of_the_certificate_that_speaks_of_this_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out, report = folder(tmp_path / "images", 30, defects=2), tmp_path / "disc.safetensors", tmp_path / "r.png"
    (images / "test" / "good").mkdir()
    (images / "test" / "good" / "0.png").write_bytes((images / "train" / "good" / "000.png").read_bytes())
    settings = tiny(tmp_path)
    training = settings.training.model_copy(update={"steps": 1, "memory_share": 0.5})
    settings = settings.model_copy(update={"training": training})
    certificate = train_folder(images, settings, out=out, own={"fit": "letterbox"}).certificate
    drawn: list[tuple[str, float | None]] = []
    monkeypatch.setattr(
        standalone, "write_report", lambda *_, title, review_threshold, **__: drawn.append((title, review_threshold))
    )
    evaluate_folder(out, images, settings, report=report)
    evaluate_folder(out, images, settings, form="paper", report=report)
    out.with_suffix(".certificate.json").write_text("{}")
    evaluate_folder(out, images, settings, report=report)
    title = "disc.safetensors on images"
    assert drawn == [(title, certificate.review_threshold), (title, None), (title, None)]
    assert (load(out).manifest.spec.fit, load(out).manifest.settings["share"]) == ("letterbox", 0.5)


def test_a_bad_folder_writes_nothing(tmp_path: Path) -> None:
    settings, out = tiny(tmp_path), tmp_path / "disc.safetensors"
    with pytest.raises(TooFewImages, match="are needed"):
        train_folder(folder(tmp_path / "few", 4), settings, out=out)
    with pytest.raises(InputError, match="multiples of 32"):
        train_folder(tmp_path / "few", settings, out=out, own={"height": 100})
    with pytest.raises(FolderError):
        train_folder(tmp_path / "nowhere", settings, out=out)
    corrupt = folder(tmp_path / "corrupt", 30)
    (corrupt / "train" / "good" / "029.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"029\.png"):
        train_folder(corrupt, settings, out=out)
    assert not list(tmp_path.glob("disc*"))
