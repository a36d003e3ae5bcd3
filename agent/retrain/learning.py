"""Training one run's model: from its checkpoint where there is one, from its parent's weights where it starts warm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from agent.failpoints import passing
from agent.retrain.progress import OnProgress, Step
from agent.store import registry
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.engine import reading
from model import artifact as artifacts
from model.artifact import Artifact, ArtifactError
from model.checkpoint import Keep
from model.errors import CheckpointUnusable
from model.images import Frame
from model.training import TrainingSettings, train

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training starts from: a checkpoint, or the weights of a parent (None: fresh ones)."""

    keep: Keep
    parent: Artifact | None


def load_parent(engine: Engine, blobs: BlobStore, version_id: int | None, wanted: TrainingSettings) -> Artifact | None:
    """A parent's model; None where there is none, or where nothing can start from it."""
    if version_id is None:
        return None
    with reading(engine) as conn:
        version = registry.version(conn, version_id)
    try:
        found = artifacts.from_bytes(blobs.get(version.artifact_sha256))
    except (ArtifactError, BlobMissing, BlobCorrupt) as error:
        log.warning("cold_start", version=version.number, problem=str(error))
        return None
    if found.manifest.teacher != wanted.teacher or not found.learner:
        log.info("cold_start", version=version.number, teacher=found.manifest.teacher, memory=not found.learner)
        return None
    return found


def learn(
    frames: Sequence[Callable[[], Frame]],
    parts: Sequence[str],
    wanted: TrainingSettings,
    start: Start,
    on_progress: OnProgress,
) -> Artifact:
    """Trains; a checkpoint that cannot be gone on from, because it is damaged or something else changed, is dropped.

    `parts` names each frame's part.

    Raises:
        model errors: see `model.training.train`.
    """
    begun = False

    def hear(step: Step) -> None:
        nonlocal begun
        on_progress(step)
        if step.phase == "training":
            if not begun:
                begun = True
                log.info("training_begun", step=step.step, steps=step.steps)
            passing("train.step")
            if start.keep.path.exists():
                passing("train.kept")

    def trained() -> Artifact:
        return train(frames, wanted, parts=parts, on_progress=hear, checkpoint=start.keep, parent=start.parent)

    try:
        return trained()
    except CheckpointUnusable as error:
        log.warning("checkpoint_not_used", problem=str(error))
        start.keep.path.unlink(missing_ok=True)
        return trained()
