"""From a trained folder to an exported one: the same images are held back, and others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.retrain.exporting import ExportInputError, Source, export_folder
from agent.retrain.progress import Step
from agent.retrain.standalone import certificate_of, train_folder
from agent.settings import Settings
from model.engines.exported import ExportedScorer
from model.errors import CheckpointUnusable
from model.export import Target
from tests.parts import needed


@pytest.fixture(scope="module")
def settings() -> Settings:
    plain = Settings()
    training = plain.training.model_copy(update={"height": 64, "width": 64, "steps": 2, "batch_size": 4})
    scoring = plain.scoring.model_copy(update={"device": "cpu", "precision": "fp32", "threads": 1})
    return plain.model_copy(update={"training": training, "scoring": scoring})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Source:
    root, rng = tmp_path_factory.mktemp("plates"), np.random.default_rng(0)
    images = root / "images"
    (images / "train/good").mkdir(parents=True)
    for at in range(24):
        grey = 120 + rng.normal(0, 12, (64, 1)) + rng.normal(0, 6, (64, 64))
        cv2.imwrite(str(images / f"train/good/{at:02}.png"), np.clip(grey, 0, 255).astype(np.uint8))
    train_folder(images, settings, out=root / "plate.safetensors")
    return Source(root / "plate.safetensors", images)


def test_the_images_that_the_model_was_certified_on_certify_its_export(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    needed("onnxruntime", "no ONNX Runtime here: exports to ONNX stay unproven")
    phases: set[str] = set()
    made = export_folder(
        source, Target("onnx"), settings, out=tmp_path / "out", on_progress=lambda step: phases.add(step.phase)
    )
    assert phases == {"reading", "evaluating"}
    own = ExportedScorer(tmp_path / "out", threads=1)
    assert own.fingerprint == made.certificate.fingerprint != ""
    assert made.certificate.n == len(made.certificate.scores) > 0
    assert made.exported == {"image_auroc": None, "pixel_auroc": None}  # nothing is labelled a defect


def test_other_images_and_a_missing_certificate_are_refused(source: Source, settings: Settings, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    bare.write_bytes(source.model.read_bytes())
    with pytest.raises(ExportInputError, match=r"bare\.certificate\.json"):
        export_folder(Source(bare, source.images), Target("onnx"), settings, out=tmp_path / "out")
    written = json.loads(certificate_of(source.model).read_text())
    certificate_of(bare).write_text(json.dumps({**written, "artifact_sha256": "0" * 64}))
    with pytest.raises(ExportInputError, match=r"bare\.certificate\.json: is of another model"):
        export_folder(Source(bare, source.images), Target("onnx"), settings, out=tmp_path / "out")
    others = tmp_path / "images/train/good"
    others.mkdir(parents=True)
    for path in sorted((source.images / "train/good").iterdir())[1:]:
        (others / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ExportInputError, match="not those that the model was certified on"):
        export_folder(Source(source.model, tmp_path / "images"), Target("onnx"), settings, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_versions_of_a_product_have_two_certificates() -> None:
    names = [certificate_of(Path(name)).name for name in ("flange-1.0", "flange-1.1", "flange.safetensors")]
    assert names == ["flange-1.0.certificate.json", "flange-1.1.certificate.json", "flange.certificate.json"]


def test_a_training_that_was_broken_off_goes_on_when_it_is_begun_again(
    source: Source, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.fitting.LOOK_EVERY", 1)
    out, checkpoint = tmp_path / "plate.safetensors", tmp_path / "plate.checkpoint"

    def strike(step: Step) -> None:
        if (step.phase, step.step) == ("training", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_folder(source.images, settings, out=out, on_progress=strike)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
    other = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": 1})})
    with pytest.raises(CheckpointUnusable, match="of a run with other seed; remove it"):
        train_folder(source.images, other, out=out)
    steps: list[int] = []
    train_folder(
        source.images, settings, out=out,
        on_progress=lambda step: steps.append(step.step) if step.phase == "training" else None,
    )  # fmt: skip
    assert steps == [2]
    assert out.read_bytes() == source.model.read_bytes()
    assert not checkpoint.exists()
