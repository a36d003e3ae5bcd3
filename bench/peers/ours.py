"""Our model as the bench sees it: one training, scored in both forms. The only place that knows our training API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from bench.peers.predictor import FitSettings, Predict, Prediction
from model import Scorer, TrainingSettings, train
from model.images import Frame

FORMS = ("paper", "default")


def fit(images: Sequence[Frame], settings: FitSettings) -> Mapping[str, Predict]:
    """Trains once; gives `ours-paper` and `ours-default`."""
    weights = str(settings.weights)
    run = TrainingSettings(teacher="resnet18", weights=weights, steps=settings.steps, seed=settings.seed)
    artifact = train(images, run)
    return {f"ours-{form}": partial(_predict, Scorer(artifact, weights=weights, form=form)) for form in FORMS}


def _predict(scorer: Scorer, images: Sequence[Frame]) -> list[Prediction]:
    return [Prediction(scored.score, scored.map) for scored in scorer.score(images)]
