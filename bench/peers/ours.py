"""Our model as the bench sees it: one training, scored in both forms. The only place that knows our training API.

`ours` has the peers' ResNet-18 weights, `ours_lite2` the product's own default teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from bench.peers.predictor import FitSettings, Predict, Prediction
from model import Scorer, TrainingSettings, train
from model.images import Frame

FORMS = ("paper", "default")
TEACHERS = {"ours": "resnet18", "ours_lite2": "efficientnet_lite2"}
RESULTS = {model: tuple(f"{model}-{form}" for form in FORMS) for model in TEACHERS}  # one training's results


def fit(model: str, images: Sequence[Frame], settings: FitSettings) -> Mapping[str, Predict]:
    """Trains one of `TEACHERS` once; gives its `RESULTS`."""
    teacher = TEACHERS[model]
    weights = str(settings.weights) if teacher == "resnet18" else ""
    artifact = train(
        images, TrainingSettings(teacher=teacher, weights=weights, steps=settings.steps, seed=settings.seed)
    )
    scorers = (Scorer(artifact, weights=weights, form=form) for form in FORMS)
    return {name: partial(_predict, scorer) for name, scorer in zip(RESULTS[model], scorers, strict=True)}


def _predict(scorer: Scorer, images: Sequence[Frame]) -> list[Prediction]:
    return [Prediction(scored.score, scored.map) for scored in scorer.score(images)]
