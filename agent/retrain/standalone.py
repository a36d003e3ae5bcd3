"""Training and measuring without a database: a folder in, a model file out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.retrain import roles
from agent.retrain.errors import CannotWrite, NotMeasured
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.scoring import open_scorer, training_settings
from agent.settings import Settings
from model import artifact as artifacts
from model import images
from model.cases import collect
from model.certificate import Certificate, CertificateError, certify
from model.checkpoint import Keep, remove
from model.engines import Scorer
from model.evaluation import Evaluation, evaluate, measure
from model.metrics import MetricError
from model.report import write_report
from model.training import train

SECRET = b"goodpart standalone"  # there is no install whose secret could be used; the split is the same everywhere
BATCH = 16
Unique = dict[str, images.LabelledImage]


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


def train_folder(
    path: Path,
    settings: Settings,
    *,
    out: Path,
    own: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Trains on a folder's good images, certifies on those held back, and writes the model and its certificate.

    Args:
        path: folder in MVTec layout, or with good/.
        settings: training, scoring, certificate, pipeline.max_megapixels.
        out: the model file; the certificate is written beside it as .certificate.json. Both appear whole or not at all.
            Until then a .checkpoint lies beside it: the same training, broken off and begun again, goes on from there.
        own: what differs from the configured input, see `agent.store.products.Product`; None for nothing.
        on_progress: hears of each step.

    Raises:
        CannotWrite: `out` is a folder, or in none that can be written to; or the disk is full by then.
        model.images.FolderError: the folder or a good image in it cannot be used.
        model.errors.CheckpointUnusable: the checkpoint that lies there is damaged, or of another training.
        TooFewImages: not even a certificate with a rate below one half could exist.
        NotMeasured: a labelled image cannot be used. The model and its certificate are written by then.
        model errors: the input cannot be used, the teacher has no weights, or the training diverged.
    """
    _check(out)
    _check(certificate_of(out))
    wanted = training_settings(settings, own=own)
    folder = images.read_folder(path, max_megapixels=settings.pipeline.max_megapixels)
    parts = split(folder.train_good, on_progress)
    certificates = settings.certificate
    needed = roles.needs(certificates.review_rate, certificates.confidence)
    warning = roles.check_enough(len(parts["train"]), len(parts["calibration"]), needed)
    checkpoint = _beside(out, ".checkpoint")
    trained = train(
        [image.frame for image in parts["train"].values()],  # loaded when they are wanted: thousands fit no memory
        wanted,
        on_progress=on_progress,
        checkpoint=Keep(checkpoint, after=True),
    )
    data = artifacts.to_bytes(trained)
    scorer = open_scorer(settings, artifacts.from_bytes(data))
    held = list(parts["calibration"].values())
    stage = Stage("calibrating", len(held), on_progress)
    scores: list[float] = []
    for start in range(0, len(held), BATCH):
        batch = [image.frame() for image in held[start : start + BATCH]]
        scores += [one.score for one in scorer.score(batch)]
        stage.advance(len(batch))
    certificate = certify(
        scores,
        artifact_sha256=hashlib.sha256(data).hexdigest(),
        calibration_sha256=hash_of(parts["calibration"]),
        fingerprint=scorer.fingerprint,
        review_rate=certificates.review_rate,
        reject_rate=certificates.reject_rate,
        confidence=certificates.confidence,
    )
    _write({certificate_of(out): json.dumps(certificate.to_dict(), indent=2).encode() + b"\n", out: data})
    remove(checkpoint)
    return Trained(certificate, _measure(scorer, folder.test, out, on_progress), warning)


def evaluate_folder(
    model: Path,
    path: Path,
    settings: Settings,
    *,
    weights: str | None = None,
    form: str = "default",
    report: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Measures a model file on the labelled test images of a folder.

    Args:
        model: a file that `train_folder` wrote.
        path: folder in MVTec layout.
        settings: scoring, training.weights, pipeline.max_megapixels.
        weights: file with the teacher's weights; None: training.weights.
        form: of the score, "default" or "paper".
        report: a .png file to draw the figures into, with the thresholds of the model's certificate where that lies
            beside the model and speaks of this very scorer; None for no report.
        on_progress: hears of each batch of images.

    Raises:
        model.artifact.ArtifactError, model.images.FolderError, model.teacher.TeacherError: what cannot be used.
        model.metrics.MetricError: good or defective test images are missing.
        model.report.ReportError: the report cannot be written.
    """
    folder = images.read_folder(path, max_megapixels=settings.pipeline.max_megapixels, trains=False)
    scorer = open_scorer(settings, artifacts.load(model), weights=weights, form=form)
    cases = collect(scorer, folder.test, on_progress)
    found = measure(cases)
    if report:
        certificate = _certificate(model, scorer)
        write_report(
            report, cases, found, title=f"{model.name} on {folder.name}",
            review_threshold=certificate.review_threshold if certificate else None,
            reject_threshold=certificate.reject_threshold if certificate else None,
        )  # fmt: skip
    return found


def _measure(
    scorer: Scorer, test: Sequence[images.LabelledImage], model: Path, on_progress: OnProgress | None
) -> Evaluation | None:
    if {one.label == images.GOOD for one in test} != {True, False}:
        return None
    try:
        return evaluate(scorer, test, on_progress=on_progress)
    except (images.FolderError, images.ImageError, MetricError) as error:
        raise NotMeasured(
            f"{error}. The model is written to {model}, its certificate beside it; measure it with: goodpart evaluate"
        ) from error


def certificate_of(model: Path) -> Path:
    """The file that holds a model file's certificate: of two models with two names two files."""
    return _beside(model, ".certificate.json")


def _beside(model: Path, suffix: str) -> Path:
    """A model file's companion; only .safetensors is no part of a model's name, as ".1" of "flange-1.1" is."""
    return model.with_name(model.name.removesuffix(".safetensors") + suffix)


def _certificate(model: Path, scorer: Scorer) -> Certificate | None:
    """The certificate beside a model file, where it speaks of this scorer."""
    try:
        found = Certificate.from_dict(json.loads(certificate_of(model).read_text(encoding="utf-8")))
    except (OSError, ValueError, CertificateError):
        return None
    same = (found.artifact_sha256, found.fingerprint) == (scorer.artifact_sha256, scorer.fingerprint)
    return found if same else None


def split(good: Sequence[images.LabelledImage], on_progress: OnProgress | None) -> dict[str, Unique]:
    """Good images to train and to calibrate with, by their pixels' hash: of identical ones one, wherever it lies."""
    stage = Stage("reading", len(good), on_progress)
    unique: Unique = {}
    for image in good:
        unique[images.pixels_sha256(image.frame())] = image
        stage.advance()
    parts: dict[str, Unique] = {"train": {}, "calibration": {}}
    for key, role in roles.assign(SECRET, list(unique), {}, {}).items():
        # There is no challenger to hold anything out for.
        parts["train" if role == "train" else "calibration"][key] = unique[key]
    return parts


def hash_of(calibration: Unique) -> str:
    """Of a calibration set, whatever its order."""
    return hashlib.sha256("\n".join(sorted(calibration)).encode()).hexdigest()


def _check(path: Path) -> None:
    """Whether a file can be written there: better said before hours of training than after them."""
    try:
        if path.is_dir():
            raise CannotWrite(f"{path}: is a folder; give the name of a file")
        if not path.resolve().parent.is_dir():
            raise CannotWrite(f"{path}: its folder does not exist; create {path.resolve().parent} first")
        _part(path).touch()
        _part(path).unlink()
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from None


def _write(files: Mapping[Path, bytes]) -> None:
    """Writes all of the files, or none of them."""
    try:
        for path, data in files.items():
            _part(path).write_bytes(data)
        for path in files:
            _part(path).replace(path)
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        for path in files:
            _part(path).unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
