"""Accuracy of our model beside its peers: `python -m bench.accuracy --data DIR --weights FILE`, then `--report`.

Every model gets the same backbone weights, training images, input pixels and optimiser steps (`ours_lite2` has the
product's default teacher instead), and is measured by `model.metrics` in frame coordinates. Each (set, model, seed) is
one file in the results folder; those that are there are not run again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")  # read once, when tqdm is first imported; PatchCore draws a long bar

import numpy as np
import torch

from bench.peers import ours
from bench.peers.predictor import Fit, FitSettings, Predict
from bench.peers.report import report
from bench.peers.results import Key, Result, Results, pixel_histograms
from model.images import GOOD, Frame, ImageFolder, InputSpec, LabelledImage, prepare, read_folder, to_frame
from model.metrics import MetricError, aupro, image_auroc, pixel_auroc

SPEC = InputSpec(256, 256)
RESULTS = Path("bench/results/accuracy")
PEERS = ("reverse_distillation", "padim", "patchcore", "patchcore_1", "stfpm")
GPU_PEERS = ("draem", "ganomaly")  # days on a CPU
MODELS = (*ours.TEACHERS, *PEERS, *GPU_PEERS)
LIBRARIES = ("anomalib", "lightning", "numpy", "scikit-learn", "timm", "torch")


def main() -> None:
    """Runs what is missing, or prints the report."""
    options = _options()
    results = Results(options.results)
    if not options.report:
        _run_all(options, results)
        return
    found = list(results.load())
    sets = options.sets or sorted({result.key.set for result in found})
    present = {result.key.model for result in found}
    reasons = dict.fromkeys((*chain(*ours.RESULTS.values()), *PEERS), "") | {
        name: "" if name in present else "needs a GPU" for name in GPU_PEERS
    }
    print("\n".join(report(found, reasons, sets, options.seeds)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of sets in MVTec layout")
    parser.add_argument("--weights", type=Path, help="ResNet-18 weights, as `model.teacher` takes them")
    parser.add_argument("--sets", nargs="+", help="names of sets; all in DATA, or in the report all with results")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100, help="optimiser steps of 16 images")
    parser.add_argument("--images", type=int, default=100, help="training images, drawn by the seed")
    parser.add_argument("--test-limit", type=int, default=0, help="a quick check on this many test images; 0: all")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table of what is there; runs nothing")
    options = parser.parse_args()
    if not options.report and not (options.data and options.weights):
        parser.error("--data and --weights are needed to run; --report needs neither")
    return options


def _run_all(options: argparse.Namespace, results: Results) -> None:
    sets = options.sets or sorted(path.name for path in options.data.iterdir() if (path / "train").is_dir())
    settings = {"steps": options.steps, "images": options.images, "test_limit": options.test_limit, "side": SPEC.height}
    for seed in options.seeds:
        for name in sets:
            for model in options.models:
                keys = [Key(name, result, seed) for result in ours.RESULTS.get(model, (model,))]
                if model in GPU_PEERS and not torch.cuda.is_available():
                    print(f"{keys[0].stem}: not run, needs a GPU", flush=True)
                elif not all(results.has(key, settings) for key in keys):
                    folder = read_folder(options.data / name)
                    fit = FitSettings(options.weights, options.steps, seed)
                    for result in run(model, folder, fit, settings):
                        results.save(result)
                        print(f"{result.key.stem}: {_figures(result)}", flush=True)


def _figures(result: Result) -> str:
    shown = ", ".join(f"{name} {'none' if value is None else f'{value:.4f}'}" for name, value in result.figures.items())
    return f"{shown}, fitted in {result.seconds['fit']:.0f} s {result.failure}"


def run(model: str, folder: ImageFolder, fit: FitSettings, settings: Mapping[str, Any]) -> list[Result]:
    """Fits one of `MODELS` on a set and measures it; one result, or for ours one a form."""
    images = [model_input(image.frame()) for image in draw(folder.train_good, settings["images"], fit.seed)]
    test = thin(folder.test, settings["test_limit"])
    fitter = _fit_of(model)
    began = perf_counter()
    predictors = fitter(images, fit)
    fitted = perf_counter() - began
    return [
        _measured(Key(folder.name, name, fit.seed), folder, test, predict, fitted, settings)
        for name, predict in predictors.items()
    ]


def _fit_of(model: str) -> Fit:
    if model in ours.TEACHERS:
        return partial(ours.fit, model)
    with warnings.catch_warnings(action="ignore"):
        from bench.peers import anomalib_models  # only in `bench/environment`
    return partial(anomalib_models.fit, model)


def draw(images: Sequence[LabelledImage], count: int, seed: int) -> list[LabelledImage]:
    """`count` of the images (all where there are fewer), the same for every model."""
    chosen = sorted(np.random.default_rng((seed, 7)).permutation(len(images))[:count])
    return [images[at] for at in chosen]


def thin(images: Sequence[LabelledImage], limit: int) -> list[LabelledImage]:
    """`limit` images, evenly over all kinds; all of them where it is 0."""
    if not limit or limit >= len(images):
        return list(images)
    return [images[at] for at in np.linspace(0, len(images) - 1, limit).round().astype(int)]


def model_input(frame: Frame) -> Frame:
    """What every model gets of a frame: uint8 256 x 256 x 3."""
    return np.ascontiguousarray(prepare(frame, SPEC).tiles[0], dtype=np.uint8)


def _measured(
    key: Key,
    folder: ImageFolder,
    test: Sequence[LabelledImage],
    predict: Predict,
    fitted: float,
    settings: Mapping[str, Any],
) -> Result:
    frames = [image.frame() for image in test]
    inputs = [model_input(frame) for frame in frames]
    began = perf_counter()
    found = predict(inputs)
    seconds = {"fit": round(fitted, 2), "score": round((perf_counter() - began) / len(test), 5)}
    labels = [int(image.label != GOOD) for image in test]
    masks = [image.mask(frame.shape) for image, frame in zip(test, frames, strict=True)]
    figures: dict[str, float | None] = {"image_auroc": None, "pixel_auroc": None, "aupro": None}
    pixels, failure = None, ""
    try:
        figures["image_auroc"] = image_auroc(labels, [one.score for one in found])
        whole = [mask for mask in masks if mask is not None]
        maps = [to_frame(one.map, f.shape, SPEC) for one, f in zip(found, frames, strict=True) if one.map is not None]
        if len(whole) == len(maps) == len(test):
            figures |= {"pixel_auroc": pixel_auroc(whole, maps), "aupro": aupro(whole, maps)}
            pixels = pixel_histograms(whole, maps)
    except MetricError as error:
        failure = str(error)
    return Result(
        key=key, settings=settings, figures=figures, failure=failure, seconds=seconds, versions=_versions(),
        machine=_machine(), images=[str(image.path.relative_to(folder.path)) for image in test], labels=labels,
        scores=[float(f"{one.score:.8g}") if np.isfinite(one.score) else None for one in found], pixels=pixels,
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not there"
    return found


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.machine()} CPU, {capability}, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
