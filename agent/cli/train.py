"""`goodpart train`."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from agent.cli.common import CommandError, Common
from agent.cli.progress import bars


def train(
    images: Path,
    /,
    *,
    out: Path,
    teacher: str | None = None,
    weights: str | None = None,
    json: bool = False,
    common: Common = Common(),
) -> None:
    """Train on the good images of a folder (MVTec layout), calibrate on those held back, write one model file.

    Args:
        images: folder with train/good/, and where there are labels test/KIND/ and ground_truth/KIND/.
        out: the file to write; its certificate is written beside it as .certificate.json.
        teacher: efficientnet_lite2 or resnet18 (default: training.teacher).
        weights: file with the teacher's weights (default: training.weights).
        json: print one JSON object.
    """
    from agent.retrain import standalone

    settings = common.settings()
    changed = {name: value for name, value in (("teacher", teacher), ("weights", weights)) if value is not None}
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=changed)})
    if not out.resolve().parent.is_dir():
        raise CommandError(f"{out}: its folder does not exist; create {out.resolve().parent} first")
    with bars() as on_progress:
        result = standalone.train_folder(images, settings, out=out, on_progress=on_progress)
    if json:
        print(json_module.dumps(result.to_dict(), indent=2))
        return
    print(result.certificate.describe())
    if result.evaluation:
        print(result.evaluation.describe())
    print(f"model: {out} ({result.certificate.artifact_sha256[:12]})")
