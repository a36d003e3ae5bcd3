"""Is one model's AUROC above another's? A paired bootstrap over test images and training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.peers.results import Counts, Result, ResultError

Floats = npt.NDArray[np.float64]
REPEATS = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus the peer's.

    Attributes:
        mean: over sets and seeds, on -1 .. 1.
        lower: one-sided lower 95 % bound, the 5 % quantile of the bootstrap.
        pairs: runs of each model that went in, over all sets.
    """

    mean: float
    lower: float
    pairs: int


def image_aurocs(labels: Sequence[int], scores: Sequence[float], weights: Floats) -> Floats:
    """Image AUROC with image i counted weights[b, i] times, for each row b; ties by half."""
    defect, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    above = values[defect][:, None] - values[~defect]
    wins = (above > 0) + (above == 0) / 2
    positive, negative = weights[:, defect], weights[:, ~defect]
    total = positive.sum(1) * negative.sum(1)
    return np.asarray(((positive @ wins) * negative).sum(1) / total)


def pixel_aurocs(pixels: Counts, weights: Floats) -> Floats:
    """Pixel AUROC over all pixels of the images, image i counted weights[b, i] times; pixels of one bin are ties."""
    good, defect = weights @ pixels[:, 0].astype(np.float64), weights @ pixels[:, 1].astype(np.float64)
    below = np.cumsum(good, 1) - good / 2
    return np.asarray((defect * below).sum(1) / (defect.sum(1) * good.sum(1)))


def resample(labels: Sequence[int], repeats: int, rng: np.random.Generator) -> Floats:
    """How often each image is drawn, repeats x n: with replacement, defects and good ones apart."""
    kinds = np.asarray(labels, bool)
    drawn = np.zeros((repeats, len(kinds)))
    for kind in (False, True):
        count = int((kinds == kind).sum())
        drawn[:, kinds == kind] = rng.multinomial(count, np.full(count, 1 / count), repeats)
    return drawn


Runs = Mapping[int, Result]  # of one model on one set, by seed


def compare(
    ours: Mapping[str, Runs], peers: Mapping[str, Runs], figure: str, rng: np.random.Generator, repeats: int = REPEATS
) -> Difference | None:
    """Compares two models on some sets.

    In each repeat the same images and the same seeds are drawn for both models, set by set; the difference is the mean
    over sets of the mean over drawn seeds.

    Args:
        ours, peers: runs by set and seed; both have the same sets.
        figure: "image_auroc" or "pixel_auroc".
        rng: of the draws.
        repeats: bootstrap samples.

    Returns:
        None where a set has no seed for which both have the figure.

    Raises:
        ResultError: two runs were tested on different images.
    """
    means, samples, count = [], [], 0
    for name in ours:
        seeds = sorted(ours[name].keys() & peers[name].keys())
        pairs = [(ours[name][seed], peers[name][seed]) for seed in seeds]
        pairs = [pair for pair in pairs if all(run.figures[figure] is not None for run in pair)]
        if not pairs:
            return None
        labels = pairs[0][0].labels
        if any(run.images != pairs[0][0].images for pair in pairs for run in pair):
            raise ResultError(f"{name}: its results are of different test images; run the bench anew")
        weights = np.concatenate([np.ones((1, len(labels))), resample(labels, repeats, rng)])
        gaps = np.stack([_aurocs(a, figure, weights) - _aurocs(b, figure, weights) for a, b in pairs], 1)
        shares = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), repeats) / len(pairs)
        count += len(pairs)
        means.append(float(gaps[0].mean()))
        samples.append((gaps[1:] * shares).sum(1))
    return Difference(float(np.mean(means)), float(np.quantile(np.mean(samples, 0), 1 - LEVEL)), count)


def _aurocs(run: Result, figure: str, weights: Floats) -> Floats:
    if figure == "pixel_auroc":
        assert run.pixels is not None
        return pixel_aurocs(run.pixels, weights)
    return image_aurocs(run.labels, [score for score in run.scores if score is not None], weights)
