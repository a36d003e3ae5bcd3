"""Training and measuring without a database: a folder in, a model file out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.retrain import roles
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.scoring import open_scorer, training_settings
from agent.settings import Settings
from model import artifact as artifacts
from model import images
from model.certificate import Certificate, certify
from model.evaluation import Evaluation, evaluate
from model.training import train

SECRET = b"goodpart standalone"  # there is no install whose secret could be used; the split is the same everywhere
BATCH = 16


@dataclass(frozen=True, slots=True)
class Trained:
    """A model file's certificate, and its figures where the folder has labels."""

    certificate: Certificate
    evaluation: Evaluation | None
    warning: str | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "certificate": self.certificate.to_dict(),
            "evaluation": self.evaluation.to_dict() if self.evaluation else None,
            "warning": self.warning,
        }


def train_folder(path: Path, settings: Settings, *, out: Path, on_progress: OnProgress | None = None) -> Trained:
    """Trains on a folder's good images, certifies on those held back, and writes the model and its certificate.

    Args:
        path: folder in MVTec layout, or with good/.
        settings: training, scoring, certificate.
        out: the model file; the certificate is written beside it as .certificate.json. Both appear whole or not at all.
        on_progress: hears of each step.

    Raises:
        model.images.FolderError, model.images.ImageError: the folder or a file in it cannot be used.
        TooFewImages: not even a certificate with a rate below one half could exist.
        model errors: the teacher has no weights, or the training diverged.
    """
    folder = images.read_folder(path)
    frames = _decode([one.path for one in folder.train_good], settings, on_progress)
    parts = _split(frames)
    certificates = settings.certificate
    wanted = roles.needs(certificates.review_rate, certificates.confidence)
    warning = roles.check_enough(len(parts["train"]), len(parts["calibration"]), wanted)
    trained = train(parts["train"], training_settings(settings, None, 0), on_progress=on_progress)
    data = artifacts.to_bytes(trained)
    scorer = open_scorer(settings, artifacts.from_bytes(data), 0)
    stage = Stage("calibrating", len(parts["calibration"]), on_progress)
    scores: list[float] = []
    for start in range(0, len(parts["calibration"]), BATCH):
        scores += [one.score for one in scorer.score(parts["calibration"][start : start + BATCH])]
        stage.advance(min(BATCH, len(parts["calibration"]) - start))
    certificate = certify(
        scores,
        artifact_sha256=hashlib.sha256(data).hexdigest(),
        calibration_sha256=_hash(parts["calibration"]),
        fingerprint=scorer.fingerprint,
        review_rate=certificates.review_rate,
        reject_rate=certificates.reject_rate,
        confidence=certificates.confidence,
    )
    labelled = any(one.label != "good" for one in folder.test)
    evaluation = evaluate(scorer, folder.test, on_progress=on_progress) if labelled else None
    _write(out.with_suffix(".certificate.json"), json.dumps(certificate.to_dict(), indent=2).encode() + b"\n")
    _write(out, data)
    return Trained(certificate, evaluation, warning)


def evaluate_folder(
    model: Path, path: Path, settings: Settings, *, weights: str | None = None, on_progress: OnProgress | None = None
) -> Evaluation:
    """Measures a model file on the labelled test images of a folder.

    Args:
        model: a file that `train_folder` wrote.
        path: folder in MVTec layout.
        settings: scoring, training.weights.
        weights: file with the teacher's weights; None: training.weights.
        on_progress: hears of each image.

    Raises:
        model.artifact.ArtifactError, model.images.FolderError, model.teacher.TeacherError: what cannot be used.
    """
    if weights is not None:
        settings = settings.model_copy(update={"training": settings.training.model_copy(update={"weights": weights})})
    folder = images.read_folder(path)
    return evaluate(open_scorer(settings, artifacts.load(model), 0), folder.test, on_progress=on_progress)


def _decode(paths: Sequence[Path], settings: Settings, on_progress: OnProgress | None) -> list[images.Frame]:
    stage = Stage("reading", len(paths), on_progress)
    frames = []
    for path in paths:
        try:
            frames.append(images.decode(path.read_bytes(), max_megapixels=settings.pipeline.max_megapixels))
        except images.ImageError as error:
            raise type(error)(f"{path}: {error}") from None
        stage.advance()
    return frames


def _split(frames: Sequence[images.Frame]) -> dict[str, list[images.Frame]]:
    unique = {images.pixels_sha256(frame): frame for frame in frames}
    parts: dict[str, list[images.Frame]] = {"train": [], "calibration": []}
    for key, role in roles.assign(SECRET, list(unique), {}, {}).items():
        # There is no challenger to hold anything out for.
        parts["train" if role == "train" else "calibration"].append(unique[key])
    return parts


def _hash(frames: Sequence[images.Frame]) -> str:
    return hashlib.sha256("\n".join(sorted(map(images.pixels_sha256, frames))).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
