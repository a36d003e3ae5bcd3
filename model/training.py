"""Training: cached teacher features, averaged weights, checkpoints; the same weights from the same inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from model.anomaly_map import Normalisation, distances
from model.artifact import Artifact, Manifest, weights_sha256
from model.averaging import Average, reestimate_norms
from model.distillation import Learner, Levels, loss
from model.engines.pytorch import to_batch
from model.images import Frame, InputSpec, pixels_sha256, prepare
from model.precision import channels_last, choose_device, choose_dtype, cpu_threads, name_of
from model.teacher import Teacher, load_teacher

FEWEST = 5  # images: four to fit, one to validate
VALIDATION = 5  # one image of this many is a validation normal
CHECKPOINT_EVERY = 25  # steps
Load = Callable[[], Frame]


class TrainingError(Exception):
    """Training cannot start or has failed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a run depends on besides its images.

    Attributes:
        teacher: key of `model.teacher.KINDS`.
        weights: file with its weights; "" for its package's.
        size: side of the square model input in pixels, a multiple of 32.
        steps: optimiser steps; 0 for the teacher's default.
        batch_size: images per step.
        seed: of weights, validation draw and batch order.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "fp32" or "bf16".
        threads: CPU threads; 0 leaves torch's number as it is.
        learning_rate: Adam's.
    """

    teacher: str = "efficientnet_lite2"
    weights: str = ""
    size: int = 256
    steps: int = 0
    batch_size: int = 16
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    learning_rate: float = 0.005


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a phase ("features", "training") is; `rate` is steps per second."""

    phase: str
    step: int
    steps: int
    loss: float | None
    seconds: float
    rate: float
    eta_s: float | None


OnProgress = Callable[[Progress], None]


class Features:
    """The frozen teacher's features of all images, computed once and kept in memory in the teacher's format.

    Attributes:
        computed: images that went through the teacher, for tests.
        data_sha256: of the images' pixel hashes, sorted.
    """

    def __init__(self, teacher: Teacher, spec: InputSpec, device: torch.device, report: _Report):
        self._teacher, self._spec, self._device, self._report = teacher, spec, device, report
        self._levels: list[list[Tensor]] = [[], [], []]
        self.computed = 0
        self.data_sha256 = ""

    def compute(self, images: Sequence[Frame | Load], batch: int = 16) -> None:
        """Loads, prepares and encodes the images, in order."""
        hashes: list[str] = []
        for start in range(0, len(images), batch):
            frames = [image() if callable(image) else image for image in images[start : start + batch]]
            hashes += map(pixels_sha256, frames)
            levels = self._teacher(to_batch([prepare(frame, self._spec) for frame in frames], self._device))
            for kept, level in zip(self._levels, levels, strict=True):
                kept.extend(level.contiguous(memory_format=torch.channels_last).unbind())
            self.computed += len(frames)
            self._report(self.computed, None)
        self.data_sha256 = sha256("\n".join(sorted(hashes)).encode()).hexdigest()

    def batch(self, indices: Sequence[int]) -> Levels:
        """The three levels of some images."""
        first, second, third = (torch.stack([level[at] for at in indices]) for level in self._levels)
        return first, second, third


class _Report:
    def __init__(self, phase: str, steps: int, hear: OnProgress | None, done: int = 0):
        self._phase, self._steps, self._hear, self._began, self._done = phase, steps, hear, monotonic(), done

    def __call__(self, step: int, loss_now: float | None) -> None:
        if self._hear:
            seconds = monotonic() - self._began
            rate = (step - self._done) / max(seconds, 1e-9)
            eta = (self._steps - step) / rate if rate else None
            self._hear(Progress(self._phase, step, self._steps, loss_now, seconds, rate, eta))


def train(
    images: Sequence[Frame | Load],
    settings: TrainingSettings,
    *,
    on_progress: OnProgress | None = None,
    checkpoint: Path | None = None,
    parent: Artifact | None = None,
) -> Artifact:
    """Trains bottleneck and student on good images (Deng & Li 2022) and averages their weights.

    A fifth of the images, drawn by the seed, are validation normals: they are never fitted, normalise the score, and
    show divergence. Adam with betas (0.5, 0.999), nothing augmented.

    Args:
        images: uint8 H x W x 3 RGB frames, or functions that load one; at least 5. All of one product, all good.
        settings: see there.
        on_progress: hears of each batch of features and of each step, in this thread.
        checkpoint: file in which the state is kept every 25 steps. If it is there already, the run goes on from it and
            gives the same weights as an unbroken one. Removed at the end.
        parent: start from its weights instead of fresh ones.

    Returns:
        The model version. Same images, settings, machine type, versions and thread count: same weights.

    Raises:
        TrainingError: too few images, a wrong setting, a parent of another teacher, or divergence.
        TeacherError, DeviceError: the teacher or the device cannot be had.
    """
    if len(images) < FEWEST:
        raise TrainingError(f"{len(images)} good images; training needs {FEWEST}, and is useful from about 50")
    if settings.size < 64 or settings.size % 32:
        raise TrainingError(f"a model input of {settings.size} pixels: a multiple of 32 from 64 on is needed")
    with cpu_threads(settings.threads) as threads:
        return _Run(images, settings, threads, on_progress, checkpoint, parent).artifact()


class _Run:
    def __init__(
        self,
        images: Sequence[Frame | Load],
        settings: TrainingSettings,
        threads: int,
        on_progress: OnProgress | None,
        checkpoint: Path | None,
        parent: Artifact | None,
    ):
        self._settings, self._threads, self._hear, self._checkpoint = settings, threads, on_progress, checkpoint
        self._device = choose_device(settings.device)
        self._dtype = choose_dtype(settings.precision, self._device)
        self._teacher = load_teacher(settings.teacher, settings.weights)
        self._teacher.encoder.to(self._dtype)
        channels_last(self._teacher.to(self._device))
        self._steps = settings.steps or self._teacher.kind.steps
        self._spec = InputSpec(settings.size, settings.size)
        report = _Report("features", len(images), on_progress)
        self._features = Features(self._teacher, self._spec, self._device, report)
        self._features.compute(images)
        order = np.random.default_rng(settings.seed).permutation(len(images)).tolist()
        held = max(1, len(images) // VALIDATION)
        self._validation, self._fitted = sorted(order[:held]), sorted(order[held:])
        self._learner = self._fresh(parent)
        self._average = Average(self._learner)
        self._adam = torch.optim.Adam(self._learner.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999))

    def artifact(self) -> Artifact:
        """Fits, averages, normalises."""
        self._fit()
        learner = self._average.module()
        reestimate_norms(learner, (self._features.batch(batch) for batch in self._batches(self._fitted)), self._forward)
        normalisation = self._normalise(learner.eval())
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in learner.state_dict().items()}
        settings, digest = self._settings, self._features.data_sha256
        recorded = {
            **{name: value for name, value in asdict(settings).items() if name != "weights"},
            "steps": self._steps, "device": self._device.type, "precision": name_of(self._dtype),
            "threads": self._threads, "images": self._features.computed, "validation": len(self._validation),
        }  # fmt: skip
        manifest = Manifest(
            teacher=settings.teacher,
            teacher_sha256=self._teacher.sha256,
            height=self._spec.height,
            width=self._spec.width,
            fit=self._spec.fit,
            mean=normalisation.mean,
            deviation=normalisation.deviation,
            data_sha256=digest,
            settings=recorded,
            versions={name: version(name) for name in ("torch", "timm", "numpy", "opencv-python-headless")},
            weights_sha256=weights_sha256(tensors),
        )
        if self._checkpoint:
            self._checkpoint.unlink(missing_ok=True)
        return Artifact(manifest, tensors)

    def _fresh(self, parent: Artifact | None) -> Learner:
        learner = Learner(self._settings.teacher)
        if parent is None:
            learner.reset(torch.Generator().manual_seed(self._settings.seed))
        elif parent.manifest.teacher != self._settings.teacher:
            raise TrainingError(f"the parent model has the teacher {parent.manifest.teacher}; start without it")
        else:
            learner.load_state_dict(dict(parent.tensors))
        return channels_last(learner.to(self._device))

    def _forward(self, learner: Learner, levels: Levels) -> Levels:
        mixed = self._dtype is torch.bfloat16
        with torch.autocast(self._device.type, torch.bfloat16, enabled=mixed):
            result: Levels = learner(levels if mixed else tuple(level.float() for level in levels))
        return result

    def _fit(self) -> None:
        done = self._resume()
        report = _Report("training", self._steps, self._hear, done)
        self._learner.train()
        for step, batch in enumerate(self._endless(), 1):
            if step > self._steps:
                break
            if step <= done:
                continue  # the order goes on where the checkpoint left it
            value = self._step(self._features.batch(batch), step)
            report(step, value)
            if self._checkpoint and step % CHECKPOINT_EVERY == 0:
                self._keep(step)

    def _step(self, levels: Levels, step: int) -> float:
        value = loss(levels, self._forward(self._learner, levels))
        self._adam.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        number = float(value.detach())
        if not math.isfinite(number):
            raise TrainingError(f"the loss is {number} at step {step}: training diverged; nothing was kept")
        self._average.update(self._learner, step)
        return number

    def _batches(self, indices: Sequence[int]) -> list[Sequence[int]]:
        size = self._settings.batch_size
        return [indices[start : start + size] for start in range(0, len(indices), size)]

    def _endless(self) -> _Batches:
        return _Batches(self._fitted, self._settings.batch_size, self._settings.seed)

    def _normalise(self, learner: Learner) -> Normalisation:
        scales: list[list[Tensor]] = [[], [], []]
        with torch.inference_mode():
            for batch in self._batches(self._validation):
                levels = self._features.batch(batch)
                found = distances(levels, self._forward(learner, levels))
                for kept, scale in zip(scales, found, strict=True):
                    kept.append(scale.flatten())
        joined = [torch.cat(parts).double() for parts in scales]
        first, second, third = ((float(scale.mean()), max(float(scale.std()), 1e-6)) for scale in joined)
        means, deviations = (first[0], second[0], third[0]), (first[1], second[1], third[1])
        if not all(map(math.isfinite, (*means, *deviations))) or sum(means) > 3:
            raise TrainingError("validation images are as far from the student as chance: training diverged")
        return Normalisation(means, deviations)

    def _state(self) -> dict[str, object]:
        return {
            "learner": self._learner.state_dict(), "average": self._average.state(), "adam": self._adam.state_dict(),
            "data": self._features.data_sha256, "settings": asdict(self._settings),
        }  # fmt: skip

    def _keep(self, step: int) -> None:
        assert self._checkpoint is not None
        part = self._checkpoint.with_name(f".{self._checkpoint.name}.part")
        torch.save({**self._state(), "step": step}, part)
        part.replace(self._checkpoint)

    def _resume(self) -> int:
        if self._checkpoint is None or not self._checkpoint.exists():
            return 0
        state = torch.load(self._checkpoint, map_location=self._device, weights_only=True)
        if state["data"] != self._features.data_sha256 or state["settings"] != asdict(self._settings):
            raise TrainingError(f"{self._checkpoint}: is of another run; remove it to start anew")
        self._learner.load_state_dict(state["learner"])
        self._average.load(state["average"])
        self._adam.load_state_dict(state["adam"])
        return int(state["step"])


class _Batches:
    """Endless batches: permutations of the images one after another, cut into equal pieces."""

    def __init__(self, indices: Sequence[int], size: int, seed: int):
        self._indices, self._size = np.asarray(indices), min(size, len(indices))
        self._rng = np.random.default_rng((seed, 1))
        self._left: list[int] = []

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> Sequence[int]:
        while len(self._left) < self._size:
            self._left += self._rng.permutation(self._indices).tolist()
        batch, self._left = self._left[: self._size], self._left[self._size :]
        return batch
