"""How soon a new product has a model: `python -m bench.first_model --data SETS`.

100 good images of each set, everything else as it is by default. Each run has a process of its own and its start
counts: to the first score of the patch memory alone (goal 15 s), and of a trained model (goal 90 s, its image AUROC at
most a point below the best of the sweep's, of which `bench/results/sweep` holds the runs). Wants an idle machine.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import time

import torch

from bench import sweep
from bench.accuracy import draw
from model import Scorer, TrainingSettings, evaluate, train
from model.images import read_folder

IMAGES = 100
KINDS = {"memory alone": (1.0, 15), "trained": (None, 90)}  # share of the memory, goal in seconds


@dataclass(frozen=True, slots=True)
class First:
    """A new product's model: seconds to its first score, image and pixel AUROC on all test images."""

    seconds: float
    image_auroc: float
    pixel_auroc: float | None


def main() -> None:
    """Prints one Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_model", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sets in MVTec layout")
    parser.add_argument("--sets", nargs="+", help="names of sets; all in DATA")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    teacher = TrainingSettings().teacher
    swept = [json.loads(path.read_text()) for path in sorted(sweep.RESULTS.glob("*.json"))]
    print(f"{teacher}, {IMAGES} images, seed {options.seed}, {torch.get_num_threads()} threads "
          f"({torch.backends.cpu.get_cpu_capability()})\n")  # fmt: skip
    print("| set | model | s to a score | goal | image AUROC | pixel AUROC | points to the sweep's best |")
    print("|---|---|---|---|---|---|---|")
    for name in options.sets or sorted(path.name for path in options.data.iterdir() if (path / "train").is_dir()):
        best = sweep.best(swept, name, teacher)
        for kind, (_, goal) in KINDS.items():
            began = time()
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                found = pool.submit(first, options.data / name, kind, options.seed, began).result()
            print(f"| {name} | {kind} | {row(found, goal, best)} |", flush=True)


def first(path: Path, kind: str, seed: int, began: float) -> First:
    """Trains, scores one frame, and then measures; `began` is when its process was asked for, as `time` has it."""
    folder = read_folder(path)
    images = draw(folder.train_good, IMAGES, seed)
    artifact = train([image.frame for image in images], TrainingSettings(seed=seed, share=KINDS[kind][0]))
    scorer = Scorer(artifact)
    scorer.score([folder.test[0].frame()])
    seconds = time() - began
    found = evaluate(scorer, folder.test)
    return First(seconds, found.image_auroc, found.pixel_auroc)


def row(found: First, goal: float, best: float | None) -> str:
    """The cells after set and model."""
    pixels = "none" if found.pixel_auroc is None else f"{found.pixel_auroc:.4f}"
    gap = "no sweep" if best is None else f"{100 * (found.image_auroc - best):+.2f}"
    return f"{found.seconds:.1f} | {goal} | {found.image_auroc:.4f} | {pixels} | {gap}"


if __name__ == "__main__":
    main()
