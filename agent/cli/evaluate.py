"""`goodpart evaluate`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Literal

from agent.cli.common import CommandError, Common
from agent.cli.progress import bars


def evaluate(
    model: Path,
    /,
    images: Path,
    *,
    weights: str | None = None,
    score: Literal["default", "paper"] = "default",
    report: Path | None = None,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """Measure a model file on a labelled folder: image and pixel figures with their intervals, each kind of defect.

    Args:
        model: a file that `goodpart train` wrote.
        images: folder in MVTec layout with test/good/, test/KIND/ and, for pixel figures, ground_truth/KIND/.
        weights: file with the teacher's weights (default: training.weights).
        score: the product's score, or the one of the reverse-distillation paper.
        report: also draw ROC, scores and the cases worth looking at into this .png file.
        json: print one JSON object.
    """
    from agent.retrain import standalone

    if report and (report.suffix.lower() != ".png" or not report.resolve().parent.is_dir()):
        raise CommandError(f"{report}: the report needs a name that ends in .png, in a folder that is there")
    with bars() as on_progress:
        result = standalone.evaluate_folder(
            model, images, common.settings(), weights=weights, form=score, report=report, on_progress=on_progress
        )
    if json:
        print(json_module.dumps(result.to_dict(), indent=2))
        return
    print(result.describe())
    if report:
        print(f"report: {report}")
