"""The default score's step budget and form: `python -m bench.sweep --data DIR --weights FILE`, then `--report`.

For each (set, teacher, seed): one training, looked at after each budget; one with jittered features, and one on
registered pictures. At each look every form of the score is measured on the labelled test
images, beside the form that pseudo-defects choose without them. Finished (set, teacher, seed, training) files are not
run again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from bench.accuracy import SPEC
from bench.variants import TRAINED, Data, fits, read, reconstructor
from model.forming import Measured, Version, measure, probe_all
from model.images import prepare, read_folder
from model.metrics import image_auroc, pixel_auroc
from model.normalising import smoothed_maps
from model.score import paper
from model.selection import FOLDS, SHARES, Form, choose, forms

RESULTS = Path("bench/results/sweep")
TRAINING = 100  # images, a fifth of them validation normals
FORMS = forms(None, None, reconstructs=True, normals=FOLDS)
Figures = dict[str, tuple[float, float]]


def main() -> None:
    """Runs what is missing, or prints the tables."""
    options = _options()
    if options.report:
        print(report([json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))]))
        return
    options.results.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for teacher in options.teachers:
            for name in options.sets:
                for training in options.trainings:
                    path = options.results / f"{name}.{teacher}.{seed}.{training}.json"
                    if not path.exists():
                        path.write_text(json.dumps(sweep(name, teacher, seed, training, options), indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of sets in MVTec layout")
    parser.add_argument("--weights", type=Path, help="ResNet-18 weights, as `model.teacher` takes them")
    parser.add_argument("--sets", nargs="+", default=["aitex_f03", "bsd_ballscrew", "magnetic_tile"])
    parser.add_argument("--teachers", nargs="+", default=["resnet18", "efficientnet_lite2"])
    parser.add_argument("--trainings", nargs="+", choices=TRAINED, default=list(TRAINED))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", type=int, default=[25, 50, 100])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the tables of what is there; runs nothing")
    return parser.parse_args()


def sweep(name: str, teacher: str, seed: int, training: str, options: argparse.Namespace) -> dict[str, Any]:
    """One training at every budget."""
    data = read(
        read_folder(options.data / name), teacher, options.weights, TRAINING, seed, registered=training == "registered"
    )
    looks = []
    began = perf_counter()
    variant = "last" if training == "plain" else training  # a plain one's last weights; older files have averages too
    for budget, fit in fits(data, teacher, training, options.budgets, seed):
        with torch.inference_mode():
            looks.append({"steps": budget, "variant": variant, **look(data, reconstructor(fit), seed)})
        figures, chosen = looks[-1]["figures"], looks[-1]["chosen"]
        print(f"{name} {teacher} seed {seed} {variant} step {budget}: paper {figures['paper'][0]:.4f}, "
              f"chosen {chosen} {figures[chosen][0]:.4f} ({perf_counter() - began:.0f} s)", flush=True)  # fmt: skip
    return {"set": name, "teacher": teacher, "seed": seed, "looks": looks}


def look(data: Data, reconstruct: Any, seed: int) -> dict[str, Any]:
    """Every form's figures on the labelled images, and how pseudo-defects rank the forms without them."""
    version = Version(reconstruct, data.prototypes)
    measured = measure(data.features, data.validation, version, lambda _: None)
    judged = probe_all(
        measured, data.features, data.validation, version, FORMS,
        lambda frame: prepare(data.pixels[frame], SPEC), seed, lambda _: None,
    )  # fmt: skip
    return {
        "figures": figures_of(measured, data, version),
        "chosen": _name(choose(judged)),
        "pseudo": {_name(one.form): one.auroc for one in judged},
    }


def figures_of(measured: Measured, data: Data, version: Version) -> Figures:
    """Image and pixel AUROC of every form; of pixels every second row and column at map size."""
    frames = range(len(data.labels))
    plain = smoothed_maps(data.test, frames, version.reconstruct, None, paper().scales, lambda _: None)
    found = {"paper": _auroc(plain[:, 0], data)}
    maps = smoothed_maps(data.test, frames, version.reconstruct, version.prototypes, measured.scales, lambda _: None)
    for form in FORMS:
        position = measured.parameters(form, version.prototypes).position
        channels = maps if 0 < form.share < 1 else maps[:, int(form.share) : int(form.share) + 1]
        normal = position(channels)
        total = normal[:, 0] if normal.shape[1] == 1 else torch.lerp(normal[:, 0], normal[:, 1], form.share)
        found[_name(form)] = _auroc(total, data)
    return found


def _auroc(maps: Tensor, data: Data) -> tuple[float, float]:
    scores = maps.flatten(1).amax(1).tolist()
    return image_auroc(data.labels, scores), pixel_auroc(data.masks, list(maps[:, ::2, ::2].numpy()))


def _name(form: Form) -> str:
    return f"{'position' if form.positional else 'whole'} {form.share:g}"


def best(runs: Sequence[dict[str, Any]], name: str, teacher: str) -> float | None:
    """The best image AUROC of the chosen form over all budgets, each the mean of its seeds; None without a run."""
    looks = [
        {**run, **look} for run in runs for look in run["looks"]
        if (run["set"], run["teacher"], look["variant"]) == (name, teacher, "last")
    ]  # fmt: skip
    groups = [group for _, group in _grouped(looks, "steps")]
    return max((fmean(one["figures"][one["chosen"]][0] for one in group) for group in groups), default=None)


def report(runs: Sequence[dict[str, Any]]) -> str:
    """A table of forms, and one of the variants: means over seeds of image / pixel AUROC."""
    names = ["paper", *(f"{place} {share:g}" for place in ("whole", "position") for share in SHARES), "chosen"]
    looks = [{**run, **look} for run in runs for look in run["looks"]]
    lines = [f"| set | teacher | steps | seeds | {' | '.join(names)} |", "|---|---|---|---|" + "---|" * len(names)]
    for key, group in _grouped([one for one in looks if one["variant"] == "last"], "set", "teacher", "steps"):
        lines.append(f"| {key} | {len(group)} | {' | '.join(_cell(group, name) for name in names)} |")
    lines += ["", "| set | teacher | variant | steps | seeds | paper | chosen |", "|---|---|---|---|---|---|---|"]
    for key, group in _grouped(looks, "set", "teacher", "variant", "steps"):
        lines.append(f"| {key} | {len(group)} | {_cell(group, 'paper')} | {_cell(group, 'chosen')} |")
    return "\n".join(lines)


def _grouped(looks: Sequence[dict[str, Any]], *fields: str) -> list[tuple[str, list[dict[str, Any]]]]:
    keys = sorted({tuple(one[field] for field in fields) for one in looks})
    return [
        (" | ".join(map(str, key)), [one for one in looks if tuple(one[field] for field in fields) == key])
        for key in keys
    ]


def _cell(looks: Sequence[dict[str, Any]], name: str) -> str:
    pairs = [one["figures"][one["chosen"] if name == "chosen" else name] for one in looks]
    return " / ".join(f"{fmean(part):.3f}" for part in zip(*pairs, strict=True))


if __name__ == "__main__":
    main()
