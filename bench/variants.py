"""What the sweep tries beside the default: one (set, teacher, seed) as data, and the ways to fit a learner to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from bench.accuracy import SPEC, draw, model_input
from model import drawing
from model.distillation import Learner, Levels
from model.distributed import Group
from model.features import Features
from model.fitting import Batches, Fit, FitSettings
from model.images import Frame, ImageFolder, pixels_sha256
from model.normalising import Reconstruct
from model.precision import channels_last, choose_dtype
from model.stores import Room
from model.teacher import load_teacher

EVERYTHING = Room(1 << 40, 0)
CPU = torch.device("cpu")
JITTER = 0.5  # deviation of the noise, in the deviations of a level's channels
TRAINED = ("plain", "jitter", "registered")


class Registration:
    """Moves a picture to where the mean of good ones lies, by phase correlation (Kuglin & Hines 1975).

    Args:
        pixels: uint8 H x W x 3, good pictures.
    """

    def __init__(self, pixels: Sequence[Frame]):
        self._mean = np.mean([_grey(one) for one in pixels], axis=0).astype(np.float32)
        self._window = cv2.createHanningWindow(self._mean.shape[::-1], cv2.CV_32F)

    def __call__(self, pixels: Frame) -> tuple[float, float]:
        """How far to move it: (columns, rows), at most an eighth of its side."""
        (x, y), _ = cv2.phaseCorrelate(_grey(pixels), self._mean, self._window)
        most = len(self._mean) / 8
        return (x, y) if max(abs(x), abs(y)) <= most else (0.0, 0.0)


def _grey(pixels: Frame) -> np.ndarray:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)


def _moved(picture: np.ndarray, by: tuple[float, float], *, mask: bool = False) -> np.ndarray:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32)
    how, border = (cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) if mask else (cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], flags=how, borderMode=border)


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """One set as a teacher sees it.

    Attributes:
        pixels: of the training images, uint8 256 x 256 x 3.
        features, test: of training and of labelled images.
        fitted, validation: training images to fit and to hold back.
        prototypes: of the fitted ones.
        labels: 1 for a defect.
        masks: of the labelled images, 128 x 128.
    """

    pixels: list[Frame]
    features: Features
    fitted: list[int]
    validation: list[int]
    prototypes: Tensor
    test: Features
    labels: list[int]
    masks: list[np.ndarray]


def read(folder: ImageFolder, teacher: str, weights: Path, count: int, seed: int, *, registered: bool) -> Data:
    """Draws training images and a fifth of them as validation normals, as a training does, and encodes everything."""
    pixels = [model_input(image.frame()) for image in draw(folder.train_good, count, seed)]
    validation = drawing.held_back([pixels_sha256(one) for one in pixels], None, seed)
    fitted = sorted(set(range(len(pixels))) - set(validation))
    frames = [image.frame() for image in folder.test]
    labelled = [model_input(frame) for frame in frames]
    masks = [_mask(image.mask(frame.shape)) for image, frame in zip(folder.test, frames, strict=True)]
    if registered:
        shift = Registration([pixels[at] for at in fitted])
        pixels = [_moved(one, shift(one)) for one in pixels]
        shifts = [shift(one) for one in labelled]
        labelled = [_moved(one, by) for one, by in zip(labelled, shifts, strict=True)]
        masks = [_moved(one.astype(np.uint8), by, mask=True) > 0 for one, by in zip(masks, shifts, strict=True)]
    encoder = load_teacher(teacher, str(weights) if teacher == "resnet18" else "")
    encoder.encoder.to(choose_dtype("auto", CPU))
    channels_last(encoder)
    features, test = (Features(encoder, SPEC, CPU, EVERYTHING) for _ in range(2))
    with torch.inference_mode():
        features.compute(pixels, lambda _: None)
        test.compute(labelled, lambda _: None)
        prototypes, _ = drawing.prototypes(features, fitted, seed, lambda _: None)
    labels = [int(image.label != "good") for image in folder.test]
    return Data(pixels, features, fitted, validation, prototypes, test, labels, [mask[::2, ::2] for mask in masks])


def _mask(mask: np.ndarray | None) -> np.ndarray:
    assert mask is not None
    return cv2.resize(mask.astype(np.uint8), (SPEC.width, SPEC.height), interpolation=cv2.INTER_NEAREST) > 0


class Jittered(Fit):
    """Noise on the features that the bottleneck sees; the student still has to give the clean ones."""

    def forward(self, learner: Learner, levels: Levels) -> Levels:
        if not torch.is_grad_enabled():
            return super().forward(learner, levels)
        first, second, third = (
            level + JITTER * level.std((0, 2, 3), keepdim=True) * torch.randn_like(level) for level in levels
        )
        return super().forward(learner, (first, second, third))


def fits(data: Data, teacher: str, training: str, budgets: Sequence[int], seed: int) -> Iterator[tuple[int, Fit]]:
    """Trains once; gives (steps, fit) after each budget: what comes before does not depend on it."""
    untrained = Learner(teacher)
    untrained.reset(torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    mixed = choose_dtype("auto", CPU) is torch.bfloat16
    settings = FitSettings(batch_size=16, learning_rate=0.005, seed=seed, mixed=mixed)
    learner = channels_last(deepcopy(untrained))
    fit = (Jittered if training == "jitter" else Fit)(
        learner, untrained, data.features, data.fitted, data.validation,
        settings=settings, group=Group(), checkpoint=None,
    )  # fmt: skip
    batches = Batches(data.features.tiles_of(data.fitted), 16, seed)
    for step in range(1, max(budgets) + 1):
        learner.train()
        fit.step(next(batches))
        if step in budgets:
            yield step, fit


def reconstructor(fit: Fit) -> Reconstruct:
    """The learner in evaluation mode."""
    learner = fit.learner.eval()
    return lambda levels: fit.forward(learner, levels)
