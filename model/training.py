"""Training: from good images to one artifact; the same weights from the same inputs."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model import drawing, forming
from model.artifact import Artifact, Manifest, assemble, weights_sha256
from model.checkpoint import Checkpoint, Keep, check
from model.distillation import Learner
from model.distributed import Group, joined
from model.errors import Diverged, TrainingError
from model.features import Features, Load
from model.fitting import Fit, FitSettings
from model.images import Frame, InputSpec, Prepared, prepare
from model.precision import channels_last, choose_device, choose_dtype, cpu_threads, name_of
from model.progress import OnProgress, Progress, Report
from model.score import ScoreParameters
from model.selection import choose, forms
from model.stores import half_of_what_is_free
from model.teacher import load_teacher

__all__ = ["Diverged", "OnProgress", "Progress", "TrainingError", "TrainingSettings", "train"]

SEEDS = 2**63 - 1  # as far as every generator here goes
FEWEST = 5  # images: four to fit, one to validate
INPUT = InputSpec()
LIBRARIES = ("torch", "timm", "numpy", "opencv-python-headless")
CHECKPOINT_FORM = 3  # of what is kept; since 2 the best distance from validation normals, since 3 a rounded teacher


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a run depends on besides its images.

    Attributes:
        teacher: name, as `model.teacher.kind_of` takes it.
        weights: file with its weights; "" to look where `model.teacher` says.
        spec: how frames become model input.
        steps: optimiser steps; 0 for the teacher's default.
        batch_size: tiles per step, over all processes.
        seed: of weights, validation draw, batch order and memory; from 0 on.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "fp32" or "bf16".
        threads: CPU threads; 0 leaves torch's number as it is.
        learning_rate: Adam's.
        share: of the memory in the default score, 0 .. 1; None to choose it without labels. 1 trains no student: a
            score within seconds.
        positional: normalise maps place by place, for parts that lie alike; None to choose that without labels.

    Raises:
        TrainingError: a value outside its range.
    """

    teacher: str = "efficientnet_lite2"
    weights: str = ""
    spec: InputSpec = INPUT
    steps: int = 0
    batch_size: int = 16
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    learning_rate: float = 0.005
    share: float | None = None
    positional: bool | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch_size", 1), ("seed", 0), ("threads", 0)):
            if getattr(self, name) < least:
                raise TrainingError(f"{name} {getattr(self, name)}: a whole number from {least} on is needed")
        for name, known in (("device", ("auto", "cpu", "cuda")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in known:
                raise TrainingError(f"{name} {getattr(self, name)!r}: {', '.join(known)} are allowed")
        if self.seed > SEEDS:
            raise TrainingError(f"seed {self.seed}: {SEEDS} is the largest")
        if not 0 < self.learning_rate < math.inf:
            raise TrainingError(f"learning_rate {self.learning_rate}: a number above 0 is needed, 0.005 in the paper")
        if self.share is not None and not 0 <= self.share <= 1:
            raise TrainingError(f"share {self.share} of the memory: 0 .. 1 is needed")


def train(
    images: Sequence[Frame | Load],
    settings: TrainingSettings,
    *,
    parts: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
    checkpoint: Path | Keep | None = None,
    parent: Artifact | None = None,
) -> Artifact:
    """Trains bottleneck and student on good images (Deng & Li 2022).

    A fifth of the images, drawn by the seed and a key of each, are validation normals: they are never fitted, normalise
    the score, and show divergence. Adam with betas (0.5, 0.999), nothing augmented. Under torchrun every process calls
    this with the same arguments and gets the same model version (see `model.distributed`).

    Where the memory is all there is (`share` = 1), it is of all images, and those that normalise (400 of 256 x 256
    pixels, fewer of more, a fifth at least) are each held against the patches of the other parts: nearly what a memory
    without that part would say, and a little farther, since patches like its own were not chosen beside them.

    Args:
        images: uint8 H x W x 3 RGB frames, or functions that load one; at least 5. All of one product, all good.
        settings: see there.
        parts: whose frame each image is, for example a serial: of five parts or more none is both fitted and a
            validation normal, but for a memory alone (see above). None where each image is of another part.
        on_progress: hears of each batch of features and of each step, in this thread.
        checkpoint: file in which the last good state is kept, looked for every 25 steps. If it is there already, the
            run goes on from it and gives the same weights as an unbroken one; only the learning rate may differ from
            the first run's. Removed at the end, unless a `Keep` says otherwise.
        parent: start from its weights instead of fresh ones.

    Returns:
        The model version. Same images, settings, machine type, versions and thread count: same weights.

    Raises:
        TrainingError: too few images, parts for some of them only, or a parent of another teacher.
        CheckpointUnusable: the checkpoint is damaged, of another run, or where none can be written.
        Diverged: see there; the checkpoint keeps the last good state.
        TeacherError, DeviceError: the teacher or the device cannot be had.
    """
    if len(images) < FEWEST:
        raise TrainingError(f"{len(images)} good images; training needs {FEWEST}, and is useful from about 50")
    if parts is not None and len(parts) != len(images):
        raise TrainingError(f"{len(images)} good images and the parts of {len(parts)}; each image needs its part")
    keep = Keep(checkpoint) if isinstance(checkpoint, Path) else checkpoint
    if keep:
        check(keep.path)
    with cpu_threads(settings.threads) as threads, joined(choose_device(settings.device)) as group:
        return _Run(images, settings, parts, threads, group, on_progress, keep, parent).artifact()


class _Run:
    def __init__(
        self,
        images: Sequence[Frame | Load],
        settings: TrainingSettings,
        parts: Sequence[str] | None,
        threads: int,
        group: Group,
        on_progress: OnProgress | None,
        keep: Keep | None,
        parent: Artifact | None,
    ):
        self._images, self._settings, self._group, self._parent = images, settings, group, parent
        self._hear, self._parts = on_progress, parts
        self._device = choose_device(settings.device)
        self._dtype = choose_dtype(settings.precision, self._device)
        self._teacher = load_teacher(settings.teacher, settings.weights)
        self._check_parent()
        self._teacher.encoder.to(self._dtype)
        channels_last(self._teacher.to(self._device))
        self._steps = settings.steps or self._teacher.kind.steps
        room = half_of_what_is_free(self._device, group.local)
        self._features = Features(self._teacher, settings.spec, self._device, room)
        self._features.compute(images, Report("features", len(images), on_progress))
        self._alone = settings.share == 1  # no student: a normal is spoiled only by its own patches in the memory
        judged = drawing.JUDGED // math.prod(settings.spec.canvas) if self._alone else 0
        self._validation = drawing.held_back(self._features.hashes, parts, settings.seed, judged)
        held = set() if self._alone else set(self._validation)
        self._fitted = sorted(set(range(len(images))) - held)
        self._recorded: dict[str, Any] = {
            **{name: value for name, value in asdict(settings).items() if name not in ("weights", "spec")},
            "steps": self._steps, "device": self._device.type, "precision": name_of(self._dtype), "threads": threads,
            "machine": machine(self._device), "processes": group.size, "images": len(images),
            "validation": len(self._validation), "published_weights": self._teacher.published,
        }  # fmt: skip
        self._checkpoint = Checkpoint(keep, self._identity()) if keep else None

    def artifact(self) -> Artifact:
        settings = self._settings
        remembering = Report("memory", len(self._fitted), self._hear)
        with torch.inference_mode():
            prototypes, frames = drawing.prototypes(self._features, self._fitted, settings.seed, remembering.advance)
        fit, learner = None, None
        if not self._alone:
            fit = self._fit()
            fit.run(self._steps, Report("training", self._steps, self._hear))
            self._recorded["learning_rates"] = [list(rate) for rate in fit.rates]  # as JSON reads them
            learner = fit.learner.eval()
        report = Report("normalising", 2 * len(self._validation), self._hear)
        with torch.inference_mode():
            reconstruct = (lambda levels: fit.forward(learner, levels)) if fit and learner else None
            whose = drawing.owners(self._features.hashes, self._parts, 2)
            owners = [whose[frame] for frame in frames] if self._alone else None
            score = self._score(forming.Version(reconstruct, prototypes, owners, whose), report)
        tensors = assemble(learner.state_dict() if learner else {}, score, self._features.normals)
        if self._checkpoint and self._group.rank == 0:
            self._checkpoint.over()
        return Artifact(self._manifest(tensors), tensors)

    def _score(self, version: forming.Version, report: Report) -> ScoreParameters:
        settings = self._settings
        measured = forming.measure(self._features, self._validation, version, report.advance)
        candidates = forms(
            settings.share, settings.positional, reconstructs=version.reconstruct is not None,
            normals=len(self._validation),
        )  # fmt: skip
        choosing = Report("choosing", len(self._validation) if len(candidates) > 1 else 0, self._hear)
        judged = forming.probe_all(
            measured, self._features, self._validation, version, candidates, self._load, settings.seed, choosing.advance
        )
        form = choose(judged)
        self._recorded |= {"share": form.share, "positional": form.positional}
        if len(judged) > 1:
            ranked = sorted(judged, key=lambda one: -one.auroc)
            self._recorded["pseudo_auroc"] = [[one.form.share, one.form.positional, one.auroc] for one in ranked]
        return measured.parameters(form, version.prototypes)

    def _load(self, frame: int) -> Prepared:
        image = self._images[frame]
        return prepare(image() if callable(image) else image, self._settings.spec)

    def _check_parent(self) -> None:
        if self._parent and self._parent.manifest.teacher_sha256 != self._teacher.sha256:
            name = self._parent.manifest.teacher
            raise TrainingError(f"the parent model has another teacher ({name}); start without it")
        if self._parent and not self._parent.learner:
            raise TrainingError("the parent model is a memory alone; start without it")

    def _fit(self) -> Fit:
        settings = self._settings
        untrained = Learner(settings.teacher)
        untrained.reset(torch.Generator().manual_seed(settings.seed))
        learner = deepcopy(untrained)
        if self._parent:
            learner.load_state_dict(self._parent.learner)
        return Fit(
            channels_last(learner.to(self._device)), channels_last(untrained.to(self._device)),
            self._features, self._fitted, self._validation,
            settings=FitSettings(
                batch_size=settings.batch_size, learning_rate=settings.learning_rate, seed=settings.seed,
                mixed=self._dtype is torch.bfloat16,
            ),
            group=self._group, checkpoint=self._checkpoint,
        )  # fmt: skip

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on. The learning rate may be lowered after a divergence, and is recorded."""
        return {
            **{name: value for name, value in self._recorded.items() if name != "learning_rate"},
            "input": asdict(self._settings.spec),
            "images": sha256("\n".join(self._features.hashes).encode()).hexdigest(),  # in their order
            "parts": sha256("\n".join(self._parts or ()).encode()).hexdigest(),
            "teacher": self._teacher.sha256,
            "parent": self._parent_sha256,
            "versions": _versions(),
            "form": CHECKPOINT_FORM,
        }

    @property
    def _parent_sha256(self) -> str:
        return self._parent.manifest.weights_sha256 if self._parent else ""

    def _manifest(self, tensors: dict[str, Tensor]) -> Manifest:
        return Manifest(
            teacher=self._settings.teacher,
            teacher_sha256=self._teacher.sha256,
            spec=self._settings.spec,
            data_sha256=self._features.data_sha256,
            parent_sha256=self._parent_sha256,
            settings=self._recorded,
            versions=_versions(),
            weights_sha256=weights_sha256(tensors),
        )


def machine(device: torch.device) -> str:
    """The machine's type, as far as it shows in the last bits of a sum: the processor's instructions, and the GPU."""
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return processor if device.type == "cpu" else f"{processor}, {torch.cuda.get_device_name(device)}"


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}
