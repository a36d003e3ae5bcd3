"""Export without a database: a model file and the images it was certified on in, a checked graph out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from agent.retrain.errors import RetrainError
from agent.retrain.progress import OnProgress
from agent.retrain.standalone import certificate_of, hash_of, split
from agent.settings import Settings
from model import artifact as artifacts
from model import images
from model.artifact import Artifact
from model.certificate import Certificate, CertificateError
from model.engines.exported import Exported
from model.export import Calibration, Target, export


class ExportInputError(RetrainError):
    """The certificate or the images that an export needs are missing or others; the message says what to give."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model file, and the folder that it was trained and certified on."""

    model: Path
    images: Path


def export_folder(
    source: Source,
    target: Target,
    settings: Settings,
    *,
    out: Path,
    weights: str | None = None,
    on_progress: OnProgress | None = None,
) -> Exported:
    """Exports a model that `agent.retrain.standalone.train_folder` wrote.

    Args:
        source: the model, with its certificate beside it, and its images in MVTec layout; defects in test/ are scored
            too, and bf16 and int8 need them.
        target: what to export to.
        settings: training.weights, scoring.threads, pipeline.max_megapixels.
        out: folder to write; it must not hold anything yet.
        weights: file with the teacher's weights; None: training.weights.
        on_progress: hears of each image that is read, and of each batch that is scored.

    Raises:
        ExportInputError: there is no certificate, or it speaks of another model or other images.
        model errors: see `model.export.export`.
    """
    artifact = artifacts.load(source.model)
    certificate = _certificate(source.model, artifact)
    folder = images.read_folder(source.images, max_megapixels=settings.pipeline.max_megapixels)
    return export(
        artifact,
        target,
        out,
        calibration=_calibration(folder, certificate, on_progress),
        labelled=folder.test,
        weights=settings.training.weights_of(artifact.manifest.teacher) if weights is None else weights,
        threads=settings.scoring.threads,
        on_progress=on_progress,
    )


def _certificate(model: Path, artifact: Artifact) -> Certificate:
    path = certificate_of(model)
    try:
        found = Certificate.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ExportInputError(f"{path}: cannot be read ({error.strerror}); `goodpart train` wrote it") from None
    except (ValueError, CertificateError) as error:
        raise ExportInputError(f"{path}: is not a certificate ({error})") from None
    if found.artifact_sha256 != hashlib.sha256(artifacts.to_bytes(artifact)).hexdigest():
        raise ExportInputError(f"{path}: is of another model than {model}; give the two that one training wrote")
    return found


def _calibration(folder: images.ImageFolder, certificate: Certificate, on_progress: OnProgress | None) -> Calibration:
    """The held-back images of a folder: split by the same keyed hash as in training."""
    held = split(folder.train_good, on_progress)["calibration"]
    if hash_of(held) != certificate.calibration_sha256:
        raise ExportInputError(
            f"{folder.path}: its good images are not those that the model was certified on; give the folder it was "
            "trained on, unchanged"
        )
    return Calibration(
        tuple(held.values()),
        certificate.calibration_sha256,
        certificate.review_rate,
        certificate.reject_rate,
        certificate.confidence,
        certificate.look,
    )
