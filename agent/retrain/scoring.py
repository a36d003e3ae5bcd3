"""The model as the line uses it: its training settings and its scorer, from the agent's settings."""

from __future__ import annotations

from agent.settings import Settings
from model.artifact import Artifact
from model.engines import Scorer
from model.training import TrainingSettings


def training_settings(settings: Settings, teacher: str | None, threads: int) -> TrainingSettings:
    """The model's training settings; a product's own teacher goes before the configured one."""
    wanted = settings.training
    return TrainingSettings(
        teacher=teacher or wanted.teacher,
        weights=wanted.weights,
        size=wanted.size,
        steps=wanted.steps,
        batch_size=wanted.batch_size,
        seed=wanted.seed,
        device=settings.scoring.device,
        precision=settings.scoring.precision,
        threads=threads,
    )


def open_scorer(settings: Settings, artifact: Artifact, threads: int) -> Scorer:
    """The scorer as the line uses it; only its number of threads may differ."""
    scoring = settings.scoring
    return Scorer(
        artifact,
        weights=settings.training.weights,
        device=scoring.device,
        precision=scoring.precision,
        threads=threads or scoring.threads,
    )
