"""`goodpart train`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from agent.cli.common import Common
from agent.cli.inputs import CONFIGURED, InputOptions
from agent.cli.progress import bars


def train(
    images: Path,
    *,
    out: Path,
    teacher: str | None = None,
    weights: str | None = None,
    steps: PositiveInt | None = None,
    seed: NonNegativeInt | None = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    input: InputOptions = CONFIGURED,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """Train on the good images of a folder (MVTec layout), calibrate on those held back, write one model file.

    Args:
        images: folder with train/good/, and where there are labels test/KIND/ and ground_truth/KIND/.
        out: the file to write; its certificate is written beside it as .certificate.json.
        teacher: a name that goodpart teachers lists, or timm:NAME (default: training.teacher).
        weights: file with the teacher's weights (default: training.weights).
        steps: optimiser steps (default: training.steps).
        seed: of weights, batch order and memory (default: training.seed).
        quick: the patch memory alone, without training: a usable score in seconds.
        input: what differs from the input of the settings, [training].
        json: print one JSON object.
    """
    from agent.retrain import standalone

    settings = common.settings()
    if teacher and weights is None:
        weights = settings.training.weights_of(teacher)
    given = {
        "teacher": teacher,
        "weights": weights,
        "steps": steps,
        "seed": seed,
        "memory_share": 1.0 if quick else None,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=changed)})
    with bars() as on_progress:
        result = standalone.train_folder(images, settings, out=out, own=input.given(), on_progress=on_progress)
    if json:
        print(json_module.dumps(result.to_dict(), indent=2))
        return
    print(result.certificate.describe())
    if result.warning:
        print(f"warning: {result.warning}")
    if result.evaluation:
        print(result.evaluation.describe())
    print(f"model: {out} ({result.certificate.artifact_sha256[:12]})")
