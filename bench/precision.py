"""Whether engines agree on real images: `python -m bench.precision --data DIR --weights FILE`.

One training a set; every engine and precision scores the same labelled images, and held-back good ones in batches of
several sizes. The reference is torch in float32 on the CPU. Finished sets are not run again. Fails where an engine is
outside the limits of `model.agreement`, or a score in float32 depends on its batch by more than them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.accuracy import draw
from model import Scorer, TrainingSettings, train
from model.agreement import AUROC_LIMITS, SCORE_LIMIT, Measured, disagreements, measure
from model.images import ImageFolder, LabelledImage, read_folder

ENGINES: tuple[dict[str, Any], ...] = (
    {"engine": "torch", "precision": "fp32"},
    {"engine": "torch", "precision": "bf16"},
    {"engine": "openvino", "precision": "fp32"},
    {"engine": "openvino", "precision": "bf16"},
    {"engine": "openvino", "precision": "int8"},
)
ON_GPU: tuple[dict[str, Any], ...] = (
    {"engine": "torch", "precision": "fp32", "device": "cuda"},
    {"engine": "torch", "precision": "fp32", "device": "cuda", "graphs": False},
    {"engine": "torch", "precision": "bf16", "device": "cuda"},
)
BATCHES = (1, 4, 32)
RESULTS = Path("bench/results/precision")
TRAINING, CALIBRATION = 100, 30  # good images to train on, and others whose scores are compared


def main() -> None:
    """Runs what is missing, prints a table of everything that is there, and fails where it is outside the limits."""
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sets in MVTec layout")
    parser.add_argument("--weights", type=Path, required=True, help="ResNet-18 weights, as `model.teacher` takes them")
    parser.add_argument("--teacher", default="resnet18")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    for folder in sorted(path for path in options.data.iterdir() if (path / "train").is_dir()):
        path = options.results / f"{folder.name}.{options.teacher}.json"
        if not finished(path):
            path.write_text(json.dumps(compare(read_folder(folder), options), indent=1) + "\n")
    found = [json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))]
    print(report(found))
    refused = [
        f"{one['set']}, {row['engine']}: {why}" for one in found for row in one["rows"] for why in row["refused"]
    ]
    if refused:
        sys.exit("\n".join(refused))


def finished(path: Path) -> bool:
    """Whether a set's file is there; one from before batches were compared counts for nothing."""
    return path.exists() and "batches" in json.loads(path.read_text())["rows"][0]


def compare(folder: ImageFolder, options: argparse.Namespace) -> dict[str, Any]:
    """Every engine that this machine has, on one set."""
    drawn = draw(folder.train_good, TRAINING, 0)
    others = [image for image in folder.train_good if image not in drawn][:CALIBRATION]
    weights = str(options.weights) if options.teacher == "resnet18" else ""
    settings = TrainingSettings(teacher=options.teacher, weights=weights, steps=options.steps)
    artifact = train([image.frame for image in drawn], settings)
    rows: list[dict[str, Any]] = []
    reference: Measured | None = None
    for chosen in (*ENGINES, *(ON_GPU if torch.cuda.is_available() else ())):
        scorer = Scorer(artifact, weights=weights, **{"device": "cpu", **chosen})
        found = measure(scorer, others, folder.test)
        reference = reference or found
        worst = worst_gap(found.calibration + found.labelled, reference.calibration + reference.labelled)
        batches = float(np.max([worst_gap(in_batches(scorer, others, size), found.calibration) for size in BATCHES]))
        refused = disagreements(chosen["precision"], reference, found)
        if chosen["precision"] == "fp32" and not batches <= SCORE_LIMIT * reference.spread:
            refused.append(f"a score differs by {batches / reference.spread:.2g} of the spread with its batch")
        rows.append({
            "engine": scorer.fingerprint if chosen.get("graphs", True) else f"{scorer.fingerprint}, without graphs",
            "precision": chosen["precision"], **found.figures,
            "worst": worst / reference.spread, "batches": batches / reference.spread, "refused": refused,
        })  # fmt: skip
        print(f"{folder.name}: {rows[-1]}", flush=True)
    return {"set": folder.name, "teacher": options.teacher, "form": artifact.manifest.settings["share"], "rows": rows}


def in_batches(scorer: Scorer, images: Sequence[LabelledImage], size: int) -> list[float]:
    """The images' scores, `size` given at once."""
    frames = [image.frame() for image in images]
    return [one.score for start in range(0, len(frames), size) for one in scorer.score(frames[start : start + size])]


def worst_gap(found: Sequence[float], wanted: Sequence[float]) -> float:
    """The largest difference of two scores."""
    return float(np.abs(np.subtract(found, wanted)).max())  # NaN where one of them is


def report(found: list[dict[str, Any]]) -> str:
    """One table: figures, their differences to the reference in points, the worst score in spreads, and
    what a score differs by in batches of other sizes.
    """
    lines = ["| set | teacher | engine | image AUROC | points | pixel AUROC | points | worst score | batches | limit |",
             "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in found:
        first = one["rows"][0]
        for row in one["rows"]:
            limit = f"{100 * AUROC_LIMITS[row['precision']]:.1f} points" if row["precision"] != "fp32" else "0.001"
            cells = [f"{row[name]:.4f} | {100 * (row[name] - first[name]):+.2f}" for name in
                     ("image_auroc", "pixel_auroc")]  # fmt: skip
            name = row["engine"].replace("/stretch-256x256/default", "")
            lines.append(f"| {one['set']} | {one['teacher']} | {name} | {' | '.join(cells)} | "
                         f"{row['worst']:.4f} | {row['batches']:.4f} | {limit} |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
