"""What every model of the bench is once it is fitted: prepared pixels in, raw scores and maps out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.images import Frame, Map


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """One image's result, as the model gives it: neither normalised nor clamped.

    Attributes:
        score: higher is more anomalous.
        map: float32 h x w at model-input size; None where the model gives none.
    """

    score: float
    map: Map | None


Predict = Callable[[Sequence[Frame]], list[Prediction]]


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a fit depends on besides its images.

    Attributes:
        weights: file with the backbone's weights, the same for every model.
        steps: optimiser steps of 16 images, for models that have an optimiser.
        seed: of weights and batch order.
    """

    weights: Path
    steps: int
    seed: int


Fit = Callable[[Sequence[Frame], FitSettings], Mapping[str, Predict]]  # predictors by the name of their result
