"""The torch engine: the reference on the CPU, and the one for GPUs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model import artifact as artifacts
from model.anomaly_map import PAPER, anomaly_map, distances, image_score
from model.artifact import Artifact, WrongTeacher
from model.distillation import Learner, ReverseDistillation
from model.images import Frame, prepare
from model.precision import channels_last, choose_device, choose_dtype, cpu_threads, name_of
from model.teacher import load_teacher

LARGEST = 16  # frames computed at once; more bring nothing on a CPU


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One frame's result.

    Attributes:
        score: largest value of the map; may be negative, is not finite only if the computation failed.
        map: float32 h x w at model-input size; `model.images.to_frame` brings it into frame coordinates.
        features: float32, the teacher's third level averaged over the image.
    """

    score: float
    map: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]


class Scorer:
    """Scores frames with one artifact. Not for several threads at once.

    Args:
        artifact: the model version.
        weights: file with the teacher's weights; "" for its package's.
        device: "auto", "cpu" or "cuda".
        precision: "auto", "fp32" or "bf16".
        threads: CPU threads; 0 leaves torch's number as it is.
        form: "default" standardises each scale over validation normals, "paper" does not.

    Raises:
        WrongTeacher: the teacher at hand has other weights than the one that the artifact was trained with.
        TeacherError, DeviceError: the teacher or the device cannot be had.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        weights: str = "",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        form: str = "default",
    ):
        manifest = artifact.manifest
        teacher = load_teacher(manifest.teacher, weights)
        if teacher.sha256 != manifest.teacher_sha256:
            raise WrongTeacher(
                f"the model was trained with other weights of {manifest.teacher} "
                f"({manifest.teacher_sha256[:12]}) than those at hand ({teacher.sha256[:12]}); give that file"
            )
        self._spec = manifest.spec
        self._size = (self._spec.height, self._spec.width)
        self._normalisation = PAPER if form == "paper" else manifest.normalisation
        self._device = choose_device(device)
        self._threads = threads
        dtype = choose_dtype(precision, self._device)
        learner = Learner(manifest.teacher)
        learner.load_state_dict(dict(artifact.tensors))
        fold_norms(learner.eval())
        teacher.encoder.to(dtype)
        self._network = ReverseDistillation(teacher, learner.to(dtype)).eval().requires_grad_(False)
        channels_last(self._network.to(self._device))
        self.artifact_sha256 = hashlib.sha256(artifacts.to_bytes(artifact)).hexdigest()
        engine = f"torch-{torch.__version__.partition('+')[0]}"
        resize = f"{self._spec.fit}-{self._spec.height}x{self._spec.width}"
        self.fingerprint = f"{self._device.type}/{name_of(dtype)}/{engine}/{resize}/{form}"

    def warm_up(self) -> None:
        """Scores made-up frames, so that the first real one does not wait."""
        grey = np.full((*self._size, 3), 127, np.uint8)
        self.score([grey])
        self.score([grey] * LARGEST)

    def score(self, frames: Sequence[Frame]) -> list[Scored]:
        """Scores frames (uint8 H_i x W_i x 3, RGB, any sizes), in order.

        On a GPU that runs out of memory the batch is halved.
        """
        with cpu_threads(self._threads), torch.inference_mode():
            inputs = [prepare(frame, self._spec) for frame in frames]
            chunks = (inputs[start : start + LARGEST] for start in range(0, len(inputs), LARGEST))
            return [scored for chunk in chunks for scored in self._halving(chunk)]

    def _halving(self, inputs: Sequence[Frame]) -> list[Scored]:
        try:
            return self._chunk(inputs)
        except torch.cuda.OutOfMemoryError:
            if len(inputs) == 1:
                raise
        torch.cuda.empty_cache()
        middle = len(inputs) // 2
        return self._halving(inputs[:middle]) + self._halving(inputs[middle:])

    def _chunk(self, inputs: Sequence[Frame]) -> list[Scored]:
        batch = to_batch(inputs, self._device)
        teacher, student = self._network(batch)
        maps = anomaly_map(distances(teacher, student), self._size, self._normalisation)
        scores, features = image_score(maps).cpu().tolist(), teacher[2].float().mean((2, 3)).cpu().numpy()
        return [Scored(*row) for row in zip(scores, maps.cpu().numpy(), features, strict=True)]


def to_batch(inputs: Sequence[Frame], device: torch.device) -> Tensor:
    """Prepared frames as one uint8 batch, N x 3 x H x W, channels last in memory."""
    batch = torch.from_numpy(np.stack(inputs))
    return batch.to(device, non_blocking=True).permute(0, 3, 1, 2)


def fold_norms(module: nn.Module) -> None:
    """Folds each BatchNorm of a Sequential into the conv before it; the module must be in evaluation mode."""
    for child in module.children():
        fold_norms(child)
    if not isinstance(module, nn.Sequential):
        return
    for at in range(len(module) - 1):
        conv, norm = module[at], module[at + 1]
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            transposed = isinstance(conv, nn.ConvTranspose2d)
            module[at] = fuse_conv_bn_eval(cast(nn.Conv2d, conv), norm, transpose=transposed)
            module[at + 1] = nn.Identity()
