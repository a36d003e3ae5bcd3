"""A version's calibration samples scored again: what scores has changed, an engine, a precision, a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.retrain import comparison
from agent.retrain.bench import Bench
from agent.retrain.errors import RetrainError
from agent.retrain.progress import OnProgress, Stage
from agent.retrain.scoring import open_scorer
from agent.store import registry, snapshots
from agent.store.blobs import BlobCorrupt, BlobMissing
from agent.store.engine import reading
from model import artifact as artifacts
from model.artifact import ArtifactError


@dataclass(frozen=True, slots=True)
class Rescored:
    """What scored, as its fingerprint, and the score of each calibration sample."""

    fingerprint: str
    scores: Mapping[int, float]


def rescore(bench: Bench, version_id: int, on_progress: OnProgress | None = None) -> Rescored:
    """Scores the calibration samples of a version's snapshot that are still samples, as the line would score them now.

    Args:
        bench: its settings say what scores.
        version_id: the version.
        on_progress: hears of each batch.

    Raises:
        NotFound: there is no such version.
        RetrainError: it has no snapshot, or it or an image cannot be read; the message says what to do.
        TeacherError, DeviceError, EngineError: what shall score cannot.
    """
    with reading(bench.engine) as conn:
        version = registry.version(conn, version_id)
        if version.snapshot_id is None:
            raise RetrainError("v{number} was made from no samples: train a new version", number=version.number)
        frozen, gone = snapshots.get(conn, version.snapshot_id), set(snapshots.gone(conn, version.snapshot_id))
    try:
        artifact = artifacts.from_bytes(bench.blobs.get(version.artifact_sha256))
    except (ArtifactError, BlobMissing, BlobCorrupt) as error:
        raise RetrainError(
            "v{number} cannot be read ({problem}): train a new version", number=version.number, problem=str(error)
        ) from error
    scorer = open_scorer(bench.settings, artifact, threads=bench.threads)
    left = [one for one in frozen.of_role("calibration") if one.id not in gone]
    scores = comparison.score_images(scorer, left, bench.load, Stage("calibrating", len(left), on_progress))
    return Rescored(scorer.fingerprint, dict(zip((one.id for one in left), scores, strict=True)))
