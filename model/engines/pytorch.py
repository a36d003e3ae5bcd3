"""The torch engine: the reference on the CPU, and the one for GPUs."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from model.engines.base import Floats, OutOfMemory, memory_errors
from model.engines.cuda_graphs import CudaGraphs
from model.images import Frame, Mask
from model.network import ScoringNetwork
from model.precision import channels_last, cpu_threads, name_of

LARGEST = {"cpu": 16, "cuda": 64}  # tiles at once; more bring nothing


class TorchEngine:
    """Runs the network in torch.

    Args:
        network: folded, in evaluation mode, on the CPU, float32; it is moved and converted in place.
        device: where to run it.
        dtype: float32 or bfloat16, of teacher and learner; the score itself is always float32.
        threads: CPU threads; 0 leaves torch's number as it is.
        graphs: on a GPU, replay CUDA graphs; False is the plain path.

    Attributes:
        name: the same with graphs and without, for their scores agree: a certificate holds for both.
    """

    def __init__(
        self,
        network: ScoringNetwork,
        device: torch.device,
        dtype: torch.dtype,
        threads: int = 0,
        *,
        graphs: bool = True,
    ):
        heavy = network.comparison
        for part in (heavy.teacher.encoder, heavy.learner):
            if isinstance(part, nn.Module):
                part.to(dtype)
        self._device, self._threads = device, threads
        self._network: Any = channels_last(network.to(device))
        largest = LARGEST.get(device.type, 16)
        self.sizes: tuple[int, ...] = (1, max(1, largest // network.spec.tiles))
        if device.type == "cuda" and graphs:
            self._network = CudaGraphs(network, network.spec.tiles, largest)
            self.sizes = self._network.sizes
        self.name = f"{device.type}/{name_of(dtype)}/torch-{torch.__version__.partition('+')[0]}"

    def run(self, tiles: Frame, mask: Mask | None) -> tuple[Floats, Floats, Floats]:
        try:
            with memory_errors(), cpu_threads(self._threads), torch.inference_mode():
                found = self._network(self._moved(tiles), None if mask is None else self._moved(mask))
                scores, maps, features = (part.cpu().numpy() for part in cast(tuple[Tensor, ...], found))
                return scores, maps, features
        except OutOfMemory:
            torch.cuda.empty_cache()  # where CUDA is in use
            raise

    def _moved(self, values: Frame | Mask) -> Tensor:
        tensor = torch.from_numpy(values)
        if self._device.type == "cuda":  # from pinned memory the copy does not wait for the GPU
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)
