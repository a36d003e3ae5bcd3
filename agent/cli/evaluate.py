"""`goodpart evaluate`."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from agent.cli.common import Common
from agent.cli.progress import bars


def evaluate(
    model: Path, images: Path, /, *, weights: str | None = None, json: bool = False, common: Common = Common()
) -> None:
    """Measure a model file on a labelled folder: image and pixel AUROC, AUPRO, each kind of defect.

    Args:
        model: a file that `goodpart train` wrote.
        images: folder in MVTec layout with test/good/, test/KIND/ and, for pixel figures, ground_truth/KIND/.
        weights: file with the teacher's weights (default: training.weights).
        json: print one JSON object.
    """
    from agent.retrain import standalone

    with bars() as on_progress:
        result = standalone.evaluate_folder(model, images, common.settings(), weights=weights, on_progress=on_progress)
    print(json_module.dumps(result.to_dict(), indent=2) if json else result.describe())
