"""`goodpart export`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Literal

from agent.cli.common import Common
from agent.cli.progress import bars


def export(
    model: Path,
    /,
    *,
    out: Path,
    format: Literal["onnx", "openvino"],
    images: Path,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    weights: str | None = None,
    score: Literal["default", "paper"] = "default",
    json: bool = False,
    common: Common = Common(),
) -> None:
    """Write a model as an ONNX or OpenVINO graph, if that scores as the model does; thresholds are certified anew.

    Args:
        model: a file that `goodpart train` wrote, its certificate beside it.
        out: folder to write: the graph, and export.json with its thresholds.
        format: what to write.
        images: the folder that the model was trained on; bf16 and int8 need labelled defects in test/.
        precision: bf16 and int8 are OpenVINO's.
        weights: file with the teacher's weights (default: training.weights).
        score: the product's score, or the one of the reverse-distillation paper.
        json: print one JSON object.
    """
    from agent.retrain.exporting import Source, export_folder
    from model.export import Target

    target = Target(format, precision, score)
    settings = common.settings()
    with bars() as on_progress:
        made = export_folder(Source(model, images), target, settings, out=out, weights=weights, on_progress=on_progress)
    if json:
        print(json_module.dumps(made.to_dict(), indent=2))
        return
    print(made.certificate.describe())
    for name, figure in made.exported.items():
        if figure is not None:
            print(f"  {name.replace('_', ' ')} {figure:.4f}, of the model itself {made.reference[name]:.4f}")
    print(f"exported: {out} ({made.certificate.fingerprint})")
