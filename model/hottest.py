"""The hottest patches of frames: where a model is most surprised, and what the teacher sees there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model import memory
from model.artifact import Artifact
from model.engines.scorer import scoring_network
from model.images import Frame, InputSpec, prepare
from model.likeness import Patches
from model.precision import channels_last, choose_device, choose_dtype, cpu_threads

COUNT = 5  # patches of a frame
STRIDE = 8  # of a patch, in pixels
BATCH = 16  # tiles at once


class Hottest:
    """Finds them with one model version, in bfloat16 where it pays on the device. Not for several threads at once.

    Args:
        artifact: the model version.
        weights: file with the teacher's weights; "" to look where `model.teacher` says.
        device: "auto", "cpu" or "cuda".
        threads: CPU threads; 0 leaves torch's number as it is.

    Raises:
        WrongTeacher, TeacherError, DeviceError: the teacher or the device cannot be had.
    """

    def __init__(self, artifact: Artifact, *, weights: str = "", device: str = "auto", threads: int = 0):
        self._device, self._threads = choose_device(device), threads
        self._network = scoring_network(artifact, weights)
        dtype = choose_dtype("auto", self._device)
        for part in (self._network.comparison.teacher.encoder, self._network.comparison.learner):
            if part is not None:
                part.to(dtype)
        channels_last(self._network.to(self._device))
        self._spec = artifact.manifest.spec

    def __call__(self, frames: Sequence[Frame]) -> Patches:
        """Frames (uint8 H_i x W_i x 3, RGB, any sizes) -> their patches, float32 N x COUNT x D, hottest first."""
        step = max(1, BATCH // self._spec.tiles)
        with cpu_threads(self._threads), torch.inference_mode():
            found = [self._batch(frames[start : start + step]) for start in range(0, len(frames), step)]
        return np.concatenate(found)

    def _batch(self, frames: Sequence[Frame]) -> Patches:
        inputs = [prepare(frame, self._spec) for frame in frames]
        tiles = torch.from_numpy(np.concatenate([one.tiles for one in inputs])).to(self._device)
        mask = None
        if self._spec.masked:
            everywhere = np.ones(self._spec.canvas, np.bool_)
            stacked = np.stack([everywhere if one.mask is None else one.mask for one in inputs])
            mask = torch.from_numpy(stacked).to(self._device)
        levels = self._network.comparison.teacher(tiles.permute(0, 3, 1, 2))
        _, *small = self._network.comparison.compared(levels)
        _, maps = self._network.fusion(small, mask)
        return cast(Patches, hottest(maps, memory.patches(levels), self._spec).cpu().numpy())


def hottest(maps: Tensor, patches: Tensor, spec: InputSpec) -> Tensor:
    """The patches under the hottest places of each frame's map, N x COUNT x D, hottest first.

    Args:
        maps: N x canvas.
        patches: of the frames' tiles, frame by frame, (N * T) x D x h x w (`model.memory.patches`).
        spec: of the input.
    """
    by_tile = torch.stack(
        [maps[:, top : top + spec.height, left : left + spec.width] for top, left in spec.corners], 1
    ).flatten(0, 1)
    heat = F.avg_pool2d(by_tile[:, None], STRIDE).reshape(len(maps), -1)
    rows = patches.permute(0, 2, 3, 1).reshape(len(maps), -1, patches.shape[1])
    at = heat.topk(COUNT, 1).indices
    return torch.take_along_dim(rows, at[:, :, None], 1)
