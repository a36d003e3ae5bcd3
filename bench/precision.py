"""What bf16 and int8 cost in accuracy: `python -m bench.precision --data DIR --weights FILE`.

One training a set; every engine and precision scores the same labelled images. The reference is torch in
float32. Finished sets are not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.accuracy import draw
from model import Scorer, TrainingSettings, train
from model.agreement import AUROC_LIMITS, Measured, measure
from model.images import ImageFolder, read_folder

ENGINES = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
RESULTS = Path("bench/results/precision")
TRAINING, CALIBRATION = 100, 30  # good images to train on, and others whose scores are compared


def main() -> None:
    """Runs what is missing, and prints a table of everything that is there."""
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
        if not path.exists():
            path.write_text(json.dumps(compare(read_folder(folder), options), indent=1) + "\n")
    print(report([json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))]))


def compare(folder: ImageFolder, options: argparse.Namespace) -> dict[str, Any]:
    """Every engine on one set."""
    drawn = draw(folder.train_good, TRAINING, 0)
    others = [image for image in folder.train_good if image not in drawn][:CALIBRATION]
    weights = str(options.weights) if options.teacher == "resnet18" else ""
    settings = TrainingSettings(teacher=options.teacher, weights=weights, steps=options.steps)
    artifact = train([image.frame for image in drawn], settings)
    rows: list[dict[str, Any]] = []
    reference: Measured | None = None
    for engine, precision in ENGINES:
        scorer = Scorer(artifact, weights=weights, engine=engine, device="cpu", precision=precision)
        found = measure(scorer, others, folder.test)
        reference = reference or found
        worst = max(
            abs(a - b) for a, b in zip(found.calibration + found.labelled, reference.calibration + reference.labelled,
                                       strict=True)
        )  # fmt: skip
        rows.append({"engine": scorer.fingerprint, "precision": precision, **found.figures,
                     "worst": worst / reference.spread})  # fmt: skip
        print(f"{folder.name}: {rows[-1]}", flush=True)
    return {"set": folder.name, "teacher": options.teacher, "form": artifact.manifest.settings["share"], "rows": rows}


def report(found: list[dict[str, Any]]) -> str:
    """One table: figures, their differences to the reference in points, the worst score in spreads."""
    lines = ["| set | teacher | engine | image AUROC | points | pixel AUROC | points | worst score | limit |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in found:
        first = one["rows"][0]
        for row in one["rows"]:
            limit = f"{100 * AUROC_LIMITS[row['precision']]:.1f} points" if row["precision"] != "fp32" else "0.001"
            cells = [f"{row[name]:.4f} | {100 * (row[name] - first[name]):+.2f}" for name in
                     ("image_auroc", "pixel_auroc")]  # fmt: skip
            name = row["engine"].partition("/stretch")[0]
            lines.append(f"| {one['set']} | {one['teacher']} | {name} | {' | '.join(cells)} | "
                         f"{row['worst']:.4f} | {limit} |")  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
