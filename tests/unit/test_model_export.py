"""The gate's limits from both sides, and exports that are written, refused, read again and damaged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch

from model.agreement import Measured, disagreements, measure
from model.artifact import Artifact
from model.certificate import certify
from model.engines import EngineError, Scorer
from model.engines.exported import RECORD, Exported, ExportedScorer, ExportError
from model.engines.scorer import scoring_network
from model.export import Calibration, ExportRefused, Target, export
from model.images import GOOD, Frame, InputSpec, LabelledImage
from model.network import ScoringNetwork
from model.precision import choose_dtype, computes_bf16, name_of
from model.training import TrainingSettings, train
from tests.parts import needed
from tests.teachers import random_resnet18

SCORES = tuple(float(score) for score in range(9))  # interquartile range 4
BASE = Measured(SCORES, (9.0, 12.0), image_auroc=0.95, pixel_auroc=0.9)


@pytest.mark.parametrize(("gap", "refused"), [(0.00399, False), (-0.00399, False), (0.00401, True), (-0.00401, True)])
@pytest.mark.parametrize("at", [0, 10])
def test_fp32_scores_may_differ_by_a_thousandth_of_the_spread(gap: float, refused: bool, at: int) -> None:
    scores = [*BASE.calibration, *BASE.labelled]
    scores[at] += gap
    other = replace(BASE, calibration=tuple(scores[:9]), labelled=tuple(scores[9:]))
    found = disagreements("fp32", BASE, other)
    assert bool(found) is refused
    assert not refused or "interquartile" in found[0]


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("figure", ["image_auroc", "pixel_auroc"])
def test_lower_precisions_may_lose_so_much_and_gain_anything(precision: str, figure: str) -> None:
    limit = {"bf16": 0.001, "int8": 0.003}[precision]
    far = tuple(score * 2 + 1 for score in SCORES)  # their scores are their own
    for lost, refused in ((limit, False), (limit * 1.01, True), (-0.04, False)):
        other = replace(BASE, calibration=far, **{figure: getattr(BASE, figure) - lost})
        found = disagreements(precision, BASE, other)
        assert bool(found) is refused
        assert not refused or found[0].startswith(figure)


def test_what_is_no_number_or_not_there_is_refused() -> None:
    broken = (math.nan, *SCORES[1:])
    assert "nan" in disagreements("fp32", BASE, replace(BASE, calibration=broken))[0]
    assert disagreements("bf16", BASE, replace(BASE, image_auroc=math.nan))
    assert disagreements("int8", BASE, replace(BASE, pixel_auroc=None))
    blind = replace(BASE, image_auroc=None, pixel_auroc=None)
    assert "labelled defects" in disagreements("int8", blind, blind)[0]
    assert not disagreements("fp32", blind, blind)
    without_masks = replace(BASE, pixel_auroc=None)
    assert not disagreements("int8", without_masks, without_masks)


def test_the_spread_is_never_zero() -> None:
    assert BASE.spread == 4.0
    assert Measured((1.0, 1.0, 1.0)).spread > 0


def picture(rng: np.random.Generator, defect: bool) -> tuple[Frame, Frame]:
    """Woven cloth, and its defect mask."""
    rows, columns = np.mgrid[:72, :72]
    grey = 120 + 40 * np.sin(rows / 2 + rng.uniform(0, 6)) * np.sin(columns / 2) + rng.normal(0, 8, (72, 72))
    mask = np.zeros((72, 72), np.uint8)
    if defect:
        top, left = rng.integers(10, 40, 2)
        mask[top : top + 14, left : left + 14] = 255
        grey[mask > 0] = 30 + rng.normal(0, 5, int((mask > 0).sum()))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2), mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("cloth"), np.random.default_rng(0)
    for where, count in (("train/good", 20), ("test/good", 5), ("test/hole", 6)):
        (root / where).mkdir(parents=True)
        for at in range(count):
            frame, mask = picture(rng, defect=where == "test/hole")
            cv2.imwrite(str(root / where / f"{at:02}.png"), frame)
            if where == "test/hole":
                (root / "ground_truth/hole").mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / f"ground_truth/hole/{at:02}_mask.png"), mask)
    return root


def listed(folder: Path, where: str) -> tuple[LabelledImage, ...]:
    label = where.rpartition("/")[2]
    masks = folder / "ground_truth" / label
    return tuple(
        LabelledImage(path, label, None if label == GOOD else masks / f"{path.stem}_mask.png")
        for path in sorted((folder / where).iterdir())
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_resnet18(tmp_path_factory.mktemp("teacher"))


def trained(folder: Path, weights: str, spec: InputSpec) -> Artifact:
    settings = TrainingSettings(
        teacher="resnet18", weights=weights, spec=spec, steps=4, batch_size=4, precision="fp32", threads=1, share=0.5
    )
    return train([image.frame for image in listed(folder, "train/good")[:10]], settings)


@pytest.fixture(scope="module")
def artifact(folder: Path, weights: str) -> Artifact:
    return trained(folder, weights, InputSpec(64, 64))


@pytest.fixture
def calibration(folder: Path) -> Calibration:
    return Calibration(listed(folder, "train/good")[10:], "c" * 64, 0.3, 0.1, 0.8)


@pytest.mark.parametrize(
    ("graph_format", "spec"),
    [("onnx", InputSpec(64, 64)), ("openvino", InputSpec(64, 64, fit="letterbox", columns=2))],
    ids=["onnx-plain", "openvino-masked-tiled"],
)
def test_an_export_scores_as_the_model_and_certifies_itself(
    graph_format: str, spec: InputSpec, folder: Path, calibration: Calibration, weights: str, tmp_path: Path
) -> None:
    runtime = {"onnx": "onnxruntime", "openvino": "openvino"}[graph_format]
    needed(runtime, f"no {runtime} here: exporting to {graph_format} stays unproven")
    artifact = trained(folder, weights, spec)
    labelled = (*listed(folder, "test/good"), *listed(folder, "test/hole"))
    out = tmp_path / "out"
    made = export(
        artifact, Target(graph_format), out, calibration=calibration, labelled=labelled, weights=weights, threads=1
    )
    assert made.exported["image_auroc"] == made.reference["image_auroc"] and made.reference["pixel_auroc"]
    again = ExportedScorer(out, threads=1)
    assert again.record == made
    assert again.fingerprint == made.certificate.fingerprint
    frames = [image.frame() for image in (*calibration.images, *labelled)]
    model = Scorer(artifact, weights=weights, device="cpu", precision="fp32", threads=1)
    assert again.fingerprint != model.fingerprint and again.artifact_sha256 == model.artifact_sha256
    wanted, found = model.score(frames), again.score(frames)
    for one, other in zip(found, wanted, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.001 * made.certificate.spread)
    own = [one.score for one in found[: len(calibration.images)]]
    assert made.certificate.scores == pytest.approx(sorted(own), abs=1e-5)
    assert made.certificate.calibration_sha256 == calibration.sha256
    assert made.certificate.review_threshold in made.certificate.scores


def test_int8_is_gated_on_defects(artifact: Artifact, calibration: Calibration, weights: str, tmp_path: Path) -> None:
    target = Target("openvino", "int8")
    with pytest.raises(ExportRefused, match="labelled defects"):
        export(artifact, target, tmp_path / "out", calibration=calibration, weights=weights, threads=1)
    assert list(tmp_path.iterdir()) == []


BF16 = computes_bf16(torch.device("cpu"))


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param("bf16", marks=pytest.mark.skipif(not BF16, reason="no bf16 in this CPU: its export is unproven")),
        "int8",
    ],
)
def test_lower_precisions_are_exported_with_thresholds_of_their_own(
    precision: str, artifact: Artifact, folder: Path, calibration: Calibration, weights: str, tmp_path: Path
) -> None:
    needed("nncf", "no NNCF here: exports in a lower precision stay unproven")
    target, out = Target("openvino", precision), tmp_path / "out"
    labelled = (*listed(folder, "test/good"), *listed(folder, "test/hole"))
    made = export(artifact, target, out, calibration=calibration, labelled=labelled, weights=weights, threads=1)
    again = ExportedScorer(out, threads=1)
    assert again.record == made and again.fingerprint == made.certificate.fingerprint
    rest = name_of(choose_dtype("auto", torch.device("cpu")))
    assert again.fingerprint.split("/")[1] == ("bf16" if precision == "bf16" else f"int8+{rest}")
    own = [one.score for one in again.score([image.frame() for image in calibration.images])]
    assert made.certificate.scores == pytest.approx(sorted(own), abs=1e-5)


@pytest.mark.skipif(BF16, reason="this CPU computes in bf16: the refusal where none does stays unproven")
def test_bf16_is_not_exported_where_it_could_not_be_checked(
    artifact: Artifact, folder: Path, calibration: Calibration, weights: str, tmp_path: Path
) -> None:
    needed("openvino", "no OpenVINO here: the refusal of an emulated bf16 export stays unproven")
    target, labelled = Target("openvino", "bf16"), listed(folder, "test/hole")
    with pytest.raises(EngineError, match="computes bf16 as fp32"):
        export(artifact, target, tmp_path / "out", calibration=calibration, labelled=labelled, weights=weights)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_scores_otherwise_leaves_nothing(
    artifact: Artifact, calibration: Calibration, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("onnxruntime", "no ONNX Runtime here: a refused export stays unproven")
    built: list[ScoringNetwork] = []

    def drifting(*arguments: Any) -> ScoringNetwork:
        network = scoring_network(*arguments)
        if not built:  # the first one is exported, the second is the reference
            network.fusion.mean = cast(torch.Tensor, network.fusion.mean) + 0.1
        built.append(network)
        return network

    monkeypatch.setattr("model.export.scoring_network", drifting)
    with pytest.raises(ExportRefused, match="interquartile"):
        export(artifact, Target("onnx"), tmp_path / "out", calibration=calibration, weights=weights, threads=1)
    assert len(built) == 2 and list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(artifact: Artifact, calibration: Calibration) -> None:
    with pytest.raises(ExportError, match=r"^/proc/exported: cannot be written \(.*\); give a folder"):
        export(artifact, Target("onnx"), Path("/proc/exported"), calibration=calibration)


def test_targets_and_folders_that_cannot_be_are_named(
    artifact: Artifact, calibration: Calibration, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="onnx or openvino"):
        Target("tensorrt")
    with pytest.raises(ExportError, match="fp32 is allowed"):
        Target("onnx", "int8")
    with pytest.raises(ExportError, match="folder above"):
        export(artifact, Target("onnx"), tmp_path / "a" / "b", calibration=calibration)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ExportError, match="already"):
        export(artifact, Target("onnx"), tmp_path / "full", calibration=calibration)
    with pytest.raises(ExportError, match=r"export\.json"):
        ExportedScorer(tmp_path)


def written(folder: Path) -> Exported:
    """A record with made-up graph files beside it."""
    from model.engines.exported import hashes

    for name in ("model.xml", "model.bin"):
        (folder / name).write_bytes(name.encode())
    certificate = certify(
        [float(score) for score in range(20)], artifact_sha256="a", calibration_sha256="b", fingerprint="f",
        review_rate=0.3, reject_rate=0.1, confidence=0.8,
    )  # fmt: skip
    spec = InputSpec(64, 96, region=(0.1, 0.0, 1.0, 0.9))
    figures = {"image_auroc": 0.9, "pixel_auroc": None}
    files = hashes(folder, "openvino")
    record = Exported("openvino", "int8", "paper", spec, "resnet18", "a", "m", files, certificate, figures, figures)
    record.write(folder)
    return record


def test_a_record_is_read_back_and_every_change_is_noticed(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert Exported.read(tmp_path) == made
    text = (tmp_path / RECORD).read_text()
    for change, message in (
        (text.replace('"review_threshold": ', '"review_threshold": 1'), "not what was written"),
        (text[: len(text) // 2], "not the record"),
        ("[]", "not the record"),
        (json.dumps({**json.loads(text), "version": 2}), "newer program"),
    ):
        (tmp_path / RECORD).write_text(change)
        with pytest.raises(ExportError, match=message):
            Exported.read(tmp_path)
    (tmp_path / RECORD).write_text(text)
    (tmp_path / "model.bin").write_bytes(b"other")
    with pytest.raises(ExportError, match="not those of its record"):
        Exported.read(tmp_path)
    (tmp_path / "model.bin").unlink()
    with pytest.raises(ExportError, match="not those of its record"):
        Exported.read(tmp_path)


def test_good_images_count_as_good_whichever_set_they_are_of(artifact: Artifact, folder: Path, weights: str) -> None:
    """The exact figures of `measure`, from its own scores."""
    scorer = Scorer(artifact, weights=weights, device="cpu", precision="fp32", threads=1)
    held, defects = listed(folder, "test/good"), listed(folder, "test/hole")
    found = measure(scorer, held, defects)
    pairs = [(bad > good) + (bad == good) / 2 for bad in found.labelled for good in found.calibration]
    assert found.image_auroc == pytest.approx(np.mean(pairs))
    assert found.pixel_auroc is not None and 0 < found.pixel_auroc <= 1
    alone = measure(scorer, held, ())
    assert alone.calibration == pytest.approx(found.calibration) and alone.image_auroc is None
