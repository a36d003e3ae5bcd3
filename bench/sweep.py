"""The default score's step budget and form: `python -m bench.sweep --data DIR --weights FILE`, then `--report`.

One training per (set, teacher, seed), looked at after each budget: nothing depends on the budget before it. At each
look every form of the score is measured on the labelled test images, beside the form that pseudo-defects choose
without them. Finished (set, teacher, seed) files are not run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from bench.accuracy import draw
from model import memory
from model.distillation import Learner
from model.distributed import Group
from model.features import Features
from model.fitting import Batches, Fit, FitSettings
from model.forming import Measured, Version, measure, rank
from model.images import ImageFolder, InputSpec, prepare, read_folder
from model.metrics import image_auroc, pixel_auroc
from model.normalising import smoothed_maps
from model.precision import channels_last
from model.progress import Report
from model.score import paper
from model.selection import SHARES, Form, forms
from model.stores import Room
from model.teacher import load_teacher

SPEC = InputSpec(256, 256)
RESULTS = Path("bench/results/sweep")
TRAINING = 100  # images, a fifth of them validation normals
EVERYTHING = Room(1 << 40, 0)
Figures = dict[str, tuple[float, float]]


def main() -> None:
    """Runs what is missing, or prints the table."""
    options = _options()
    if options.report:
        print(report([json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))]))
        return
    options.results.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for teacher in options.teachers:
            for name in options.sets:
                path = options.results / f"{name}.{teacher}.{seed}.json"
                if not path.exists():
                    found = sweep(read_folder(options.data / name), teacher, options, seed)
                    path.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of sets in MVTec layout")
    parser.add_argument("--weights", type=Path, help="ResNet-18 weights, as `model.teacher` takes them")
    parser.add_argument("--sets", nargs="+", default=["aitex_f03", "bsd_ballscrew", "magnetic_tile"])
    parser.add_argument("--teachers", nargs="+", default=["resnet18", "efficientnet_lite2"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", type=int, default=[25, 50, 100])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table of what is there; runs nothing")
    return parser.parse_args()


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """The labelled images: their features, labels, and masks at half the map's size."""

    features: Features
    labels: list[int]
    masks: list[np.ndarray]

    @property
    def frames(self) -> range:
        return range(len(self.labels))


def sweep(folder: ImageFolder, teacher: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One (set, teacher, seed) at every budget."""
    images = draw(folder.train_good, TRAINING, seed)
    order = np.random.default_rng(seed).permutation(len(images)).tolist()
    validation, fitted = sorted(order[: len(images) // 5]), sorted(order[len(images) // 5 :])
    encoder = channels_last(load_teacher(teacher, str(options.weights) if teacher == "resnet18" else ""))
    features, test = (Features(encoder, SPEC, torch.device("cpu"), EVERYTHING) for _ in range(2))
    with torch.inference_mode():
        features.compute([image.frame for image in images], lambda _: None)
        test.compute([image.frame for image in folder.test], lambda _: None)
        rows = [memory.patches(features.batch([frame])) for frame in fitted]
        prototypes = memory.choose(memory.inspected(torch.cat(rows), None), memory.PROTOTYPES, seed)
    labelled = _Test(test, [int(image.label != "good") for image in folder.test], list(_masks(folder)))
    found: dict[str, Any] = {"set": folder.name, "teacher": teacher, "seed": seed, "budgets": {}}
    for budget, fit, learner in _looks(teacher, features, fitted, validation, options.budgets, seed):
        with torch.inference_mode():
            version = Version(lambda levels, fit=fit, one=learner: fit.forward(one, levels), prototypes)  # type: ignore[misc]
            measured = measure(features, validation, version, lambda _: None)
            choices = rank(
                measured, features, validation, version, forms(None, None, reconstructs=True),
                lambda frame: prepare(images[frame].frame(), SPEC), seed, lambda _: None,
            )  # fmt: skip
            figures = _figures(measured, labelled, version)
        found["budgets"][str(budget)] = {
            "figures": figures,
            "chosen": _name(choices[0].form),
            "pseudo": {_name(choice.form): choice.auroc for choice in choices},
        }
        chosen = figures[_name(choices[0].form)]
        print(f"{folder.name} {teacher} seed {seed} step {budget}: paper {figures['paper'][0]:.4f}, "
              f"chosen {_name(choices[0].form)} {chosen[0]:.4f}", flush=True)  # fmt: skip
    return found


def _looks(
    teacher: str, features: Features, fitted: list[int], validation: list[int], budgets: Sequence[int], seed: int
) -> Iterator[tuple[int, Fit, Learner]]:
    untrained = Learner(teacher)
    untrained.reset(torch.Generator().manual_seed(seed))
    settings = FitSettings(batch_size=16, learning_rate=0.005, seed=seed, mixed=False, averaging=True)
    learner = channels_last(deepcopy(untrained))
    fit = Fit(learner, untrained, features, fitted, validation, settings=settings, group=Group(), checkpoint=None)
    learner.train()
    batches = Batches(features.tiles_of(fitted), 16, seed)
    for step in range(1, max(budgets) + 1):
        fit.step(next(batches), step)
        if step in budgets:
            yield step, fit, fit.result(Report("normalising", len(fitted), None))


def _masks(folder: ImageFolder) -> Iterator[np.ndarray]:
    for image in folder.test:
        mask = image.mask(image.frame().shape)
        assert mask is not None
        size = (SPEC.width, SPEC.height)
        yield (cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)[::2, ::2]


def _figures(measured: Measured, test: _Test, version: Version) -> Figures:
    """Image and pixel AUROC of every form; of pixels every second row and column at map size."""
    plain = smoothed_maps(test.features, test.frames, version.reconstruct, None, paper().scales, lambda _: None)
    found = {"paper": _auroc(plain[:, 0], test)}
    maps = smoothed_maps(
        test.features, test.frames, version.reconstruct, version.prototypes, measured.scales, lambda _: None
    )
    for form in forms(None, None, reconstructs=True):
        position = measured.parameters(form, version.prototypes).position
        channels = maps if 0 < form.share < 1 else maps[:, int(form.share) : int(form.share) + 1]
        normal = position(channels)
        total = normal[:, 0] if normal.shape[1] == 1 else torch.lerp(normal[:, 0], normal[:, 1], form.share)
        found[_name(form)] = _auroc(total, test)
    return found


def _auroc(maps: Tensor, test: _Test) -> tuple[float, float]:
    scores = maps.flatten(1).amax(1).tolist()
    return image_auroc(test.labels, scores), pixel_auroc(test.masks, list(maps[:, ::2, ::2].numpy()))


def _name(form: Form) -> str:
    return f"{'position' if form.positional else 'whole'} {form.share:g}"


def report(runs: Sequence[dict[str, Any]]) -> str:
    """One table: mean over seeds of image / pixel AUROC for each set, teacher, budget and form."""
    names = ["paper", *(f"{place} {share:g}" for place in ("whole", "position") for share in SHARES), "chosen"]
    lines = [f"| set | teacher | steps | seeds | {' | '.join(names)} |", "|---|---|---|---|" + "---|" * len(names)]
    for key in sorted({(run["set"], run["teacher"]) for run in runs}):
        group = [run for run in runs if (run["set"], run["teacher"]) == key]
        for budget in sorted({int(budget) for run in group for budget in run["budgets"]}):
            looks = [run["budgets"][str(budget)] for run in group if str(budget) in run["budgets"]]
            cells = []
            for name in names:
                pairs = [look["figures"][look["chosen"] if name == "chosen" else name] for look in looks]
                cells.append(" / ".join(f"{fmean(part):.3f}" for part in zip(*pairs, strict=True)))
            lines.append(f"| {key[0]} | {key[1]} | {budget} | {len(looks)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
