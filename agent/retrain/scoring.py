"""The model as the line uses it: its training settings and its scorer, from the agent's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.settings import Input, Settings
from model.artifact import Artifact
from model.engines import Scorer
from model.images import InputSpec, ignore_mask
from model.training import TrainingSettings


def training_settings(
    settings: Settings, *, teacher: str | None = None, own: Mapping[str, Any] | None = None, threads: int = 0
) -> TrainingSettings:
    """The model's training settings.

    Args:
        settings: training and scoring.
        teacher: a product's own; None for the configured one.
        own: what differs in a product's input, see `agent.store.products.Product`; None for nothing.
        threads: CPU threads; 0 for all cores.

    Raises:
        model.images.InputError: the input cannot be used.
    """
    wanted, scoring = settings.training, settings.scoring
    teacher = teacher or wanted.teacher
    return TrainingSettings(
        teacher=teacher,
        weights=wanted.weights_of(teacher),
        spec=input_spec(settings, own),
        steps=wanted.steps,
        batch_size=wanted.batch_size,
        seed=wanted.seed,
        device=scoring.device,
        precision="auto" if scoring.precision == "int8" else scoring.precision,  # nothing trains in int8
        threads=threads,
        learning_rate=wanted.learning_rate,
        share=None if wanted.memory_share == "auto" else wanted.memory_share,
        positional=None if wanted.positional == "auto" else wanted.positional,
    )


def input_spec(settings: Settings, own: Mapping[str, Any] | None) -> InputSpec:
    """The input of a product's next model: its own values before the configured ones.

    Raises:
        model.images.InputError: a value, or the configured ignore mask, cannot be used.
    """
    wanted = settings.training
    values = {**wanted.model_dump(include=set(Input.model_fields)), **(own or {})}
    if "ignore" not in values and wanted.ignore:
        values["ignore"] = ignore_mask(Path(wanted.ignore))
    return InputSpec(**{**values, "region": tuple(values["region"])})


def open_scorer(
    settings: Settings, artifact: Artifact, *, weights: str | None = None, form: str = "default", threads: int = 0
) -> Scorer:
    """The scorer as the line uses it.

    Args:
        settings: scoring, training.weights.
        artifact: the model version.
        weights: file with its teacher's weights; None for the configured one.
        form: of the score, "default" or "paper".
        threads: CPU threads; 0 as configured.
    """
    scoring = settings.scoring
    return Scorer(
        artifact,
        weights=settings.training.weights_of(artifact.manifest.teacher) if weights is None else weights,
        engine=scoring.engine,
        device=scoring.device,
        precision=scoring.precision,
        threads=threads or scoring.threads,
        form=form,
    )
