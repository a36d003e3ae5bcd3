"""Export of a model version to ONNX or OpenVINO, behind a gate: a graph that scores otherwise is not written."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model import artifact as artifacts
from model.agreement import Measured, disagreements, measure
from model.artifact import Artifact
from model.certificate import Certificate, certify
from model.engines.base import EngineError
from model.engines.exported import Exported, ExportError, hashes, open_graph
from model.engines.scorer import FrameScorer, open_engine, scoring_network
from model.images import GOOD, LabelledImage
from model.progress import OnProgress

PRECISIONS = {"onnx": ("fp32",), "openvino": ("fp32", "bf16", "int8")}


class ExportRefused(ExportError):
    """The exported graph scores otherwise than the model; the message says by how much."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to export to.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32", or with OpenVINO "bf16" or "int8".
        form: of the score, "default" or "paper".

    Raises:
        ExportError: there is no such export.
    """

    format: str
    precision: str = "fp32"
    form: str = "default"

    def __post_init__(self) -> None:
        if self.format not in PRECISIONS:
            raise ExportError(f"export to {self.format!r}: {' or '.join(PRECISIONS)} is allowed")
        allowed = PRECISIONS[self.format]
        if self.precision not in allowed:
            raise ExportError(f"export to {self.format} in {self.precision!r}: {' or '.join(allowed)} is allowed")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Held-back good images, and what was certified on them.

    Attributes:
        images: good, never trained on.
        sha256: of the set, as the model's own certificate names it.
        review_rate, reject_rate, confidence, look: as of `model.certificate.certify`.
    """

    images: tuple[LabelledImage, ...]
    sha256: str
    review_rate: float
    reject_rate: float
    confidence: float
    look: int = 1

    def certify(self, scorer: FrameScorer, scores: Sequence[float]) -> Certificate:
        """The certificate of a scorer that gave the images these scores."""
        return certify(
            scores,
            artifact_sha256=scorer.artifact_sha256,
            calibration_sha256=self.sha256,
            fingerprint=scorer.fingerprint,
            review_rate=self.review_rate,
            reject_rate=self.reject_rate,
            confidence=self.confidence,
            look=self.look,
        )


def export(
    artifact: Artifact,
    target: Target,
    out: Path,
    *,
    calibration: Calibration,
    labelled: Sequence[LabelledImage] = (),
    weights: str = "",
    threads: int = 0,
    on_progress: OnProgress | None = None,
) -> Exported:
    """Writes a folder with the graph and its record if the graph scores as the model does, else nothing.

    Args:
        artifact: the model version.
        target: what to export to.
        out: folder to write; it must not hold anything yet.
        calibration: the new thresholds are certified on what the exported graph makes of these.
        labelled: test images; bf16 and int8 need good and defective ones.
        weights: file with the teacher's weights, as of `model.engines.Scorer`.
        threads: CPU threads; 0 leaves each library's number as it is.
        on_progress: hears of each batch of images, phase "evaluating".

    Raises:
        ExportRefused: the graph scores otherwise.
        ExportError: the folder cannot be written.
        EngineError: a library is missing, or this CPU does not compute in that precision.
        WrongTeacher, TeacherError, FolderError, MetricError: what cannot be read or scored.
    """
    parent = out.resolve().parent
    if not parent.is_dir():
        raise ExportError(f"{out}: the folder above it does not exist; create {parent} first")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out}: is there already; give a new folder")
    if target.precision != "fp32" and all(image.label == GOOD for image in labelled):
        raise ExportRefused(f"{target.precision} is checked on labelled defects; put some into test/KIND")
    try:
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error.strerror}); give a folder in a place that can") from None
    try:
        _write_graph(artifact, target, part, weights)
        scorer = _opened(artifact, target, part, threads)
        reference = measure(_reference(artifact, target, weights, threads), calibration.images, labelled, on_progress)
        exported = measure(scorer, calibration.images, labelled, on_progress)
        if refused := disagreements(target.precision, reference, exported):
            raise ExportRefused(f"the {target.format} graph does not score as the model does: {'; '.join(refused)}")
        certificate = calibration.certify(scorer, exported.calibration)
        record = _record(artifact, target, hashes(part, target.format), certificate, (reference, exported))
        record.write(part)
        part.chmod(0o755)  # temporary folders are their maker's alone
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return record


def _write_graph(artifact: Artifact, target: Target, folder: Path, weights: str) -> None:
    network = scoring_network(artifact, weights, target.form)
    if target.format == "onnx":
        from model.engines import onnx

        onnx.write(network, folder / "model.onnx")
        return
    from model.engines import openvino_graph

    normals = artifact.normals.numpy() if target.precision == "int8" else None
    openvino_graph.write(openvino_graph.convert(network, normals), folder / "model.xml")


def _opened(artifact: Artifact, target: Target, folder: Path, threads: int) -> FrameScorer:
    spec = artifact.manifest.spec
    engine = open_graph(folder, target.format, target.precision, spec, threads)
    executed, _, _ = engine.name.split("/")[1].partition("+")  # int8 names what the rest is computed in, too
    if executed != target.precision:
        raise EngineError(
            f"this CPU computes {target.precision} as {executed}; export on one that has it, or to {executed}"
        )
    return FrameScorer(engine, spec, artifact_sha256=_sha256(artifact), form=target.form)


def _reference(artifact: Artifact, target: Target, weights: str, threads: int) -> FrameScorer:
    network = scoring_network(artifact, weights, target.form)
    engine = open_engine(network, artifact, engine="torch", device="cpu", precision="fp32", threads=threads)
    return FrameScorer(engine, artifact.manifest.spec, artifact_sha256=_sha256(artifact), form=target.form)


def _sha256(artifact: Artifact) -> str:
    return hashlib.sha256(artifacts.to_bytes(artifact)).hexdigest()


def _record(
    artifact: Artifact,
    target: Target,
    files: dict[str, str],
    certificate: Certificate,
    measured: tuple[Measured, Measured],
) -> Exported:
    manifest = json.dumps(artifact.manifest.to_dict(), sort_keys=True, separators=(",", ":"))
    reference, exported = measured
    return Exported(
        format=target.format,
        precision=target.precision,
        form=target.form,
        spec=artifact.manifest.spec,
        teacher=artifact.manifest.teacher,
        artifact_sha256=certificate.artifact_sha256,
        manifest_sha256=hashlib.sha256(manifest.encode()).hexdigest(),
        files=files,
        certificate=certificate,
        reference=reference.figures,
        exported=exported.figures,
    )
