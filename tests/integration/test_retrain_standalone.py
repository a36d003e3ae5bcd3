from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.retrain import standalone
from agent.retrain.errors import CannotWrite, NotMeasured, TooFewImages
from agent.retrain.exporting import Source, export_folder
from agent.retrain.standalone import evaluate_folder, train_folder
from agent.settings import Settings
from model.artifact import load
from model.certificate import Certificate
from model.export import Target
from model.images import FolderError, InputError
from tests.integration.retrain_parts import folder, picture, tiny


def quick(place: Path) -> Settings:
    """A training of one step."""
    settings = tiny(place)
    return settings.model_copy(update={"training": settings.training.model_copy(update={"steps": 1})})


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


def test_where_no_model_can_be_written_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standalone, "train", lambda *_, **__: pytest.fail("it was trained"))
    given, settings = folder(tmp_path / "images", 30), tiny(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "disc.certificate.json").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    for name, expected in (
        ("models", "models: is a folder"),
        ("disc.safetensors", r"disc\.certificate\.json: is a folder"),
        ("nowhere/disc.safetensors", "create .*nowhere first"),
        ("file/disc.safetensors", "its folder does not exist"),
        ("x" * 250 + ".safetensors", r"cannot be written \(File name too long\)"),
    ):
        with pytest.raises(CannotWrite, match=expected):
            train_folder(given, settings, out=tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_model_that_cannot_be_written_leaves_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == ".disc.safetensors.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    given = folder(tmp_path / "images", 30)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CannotWrite, match="No space left"):
        train_folder(given, quick(tmp_path), out=tmp_path / "disc.safetensors")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["disc.checkpoint", "images"]  # to go on from


def test_a_model_is_there_before_it_is_measured(tmp_path: Path) -> None:
    given, out = folder(tmp_path / "images", 30, defects=2), tmp_path / "disc.safetensors"
    (given / "test" / "good").mkdir()
    (given / "test" / "good" / "0.png").write_bytes(picture(1000))
    mask = cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()
    (given / "ground_truth" / "blot" / "001_mask.png").write_bytes(mask)
    with pytest.raises(NotMeasured, match=rf"001_mask\.png.* is written to {out}") as error:
        train_folder(given, quick(tmp_path), out=out)
    assert "\n" not in str(error.value)
    written = json.loads((tmp_path / "disc.certificate.json").read_text())
    assert Certificate.from_dict(written).artifact_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()


def test_the_largest_picture_is_that_of_the_settings(tmp_path: Path) -> None:
    given, out = folder(tmp_path / "images", 30, defects=1), tmp_path / "disc.safetensors"
    (given / "test" / "good").mkdir()
    (given / "test" / "good" / "0.png").write_bytes(picture(1000))
    settings = quick(tmp_path)
    assert train_folder(given, settings, out=out).evaluation is not None
    large = cv2.imencode(".png", np.zeros((1001, 1001, 3), np.uint8))[1].tobytes()
    (given / "test" / "good" / "0.png").write_bytes(large)
    pipeline = settings.pipeline.model_copy(update={"max_megapixels": 1})
    with pytest.raises(FolderError, match=r"0\.png: .* more than 1 megapixels"):
        evaluate_folder(out, given, settings.model_copy(update={"pipeline": pipeline}))
    (given / "train" / "good" / "large.png").write_bytes(large)
    with pytest.raises(FolderError, match=r"large\.png: .* more than 1 megapixels"):
        export_folder(
            Source(out, given),
            Target("onnx"),
            settings.model_copy(update={"pipeline": pipeline}),
            out=tmp_path / "onnx",
        )


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
    with pytest.raises(FolderError, match=r"029\.png: not an image.*; remove or replace it"):
        train_folder(corrupt, settings, out=out)
    assert not list(tmp_path.glob("disc*"))
