"""CUDA graphs: each batch size's kernels recorded once and launched together, so that small batches do not wait."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.network import ScoringNetwork

SIZES = (1, 8, 16, 32, 64)  # frames; a batch between two is filled up to the larger
WARM_UPS = 3  # before recording, so that libraries have chosen their kernels and workspaces


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    tiles: Tensor
    mask: Tensor | None
    results: tuple[Tensor, Tensor, Tensor]


class CudaGraphs:
    """A network that replays a graph for each batch size; recorded at a size's first batch. Not for several threads.

    Args:
        network: on the GPU, in evaluation mode.
        tiles: of one frame.
        largest: tiles at once at most.

    Attributes:
        sizes: in frames, that graphs are recorded for.
    """

    def __init__(self, network: ScoringNetwork, tiles: int, largest: int):
        self._network, self._tiles = network, tiles
        most = max(1, largest // tiles)
        self.sizes = (*(size for size in SIZES if size < most), most)
        self._recorded: dict[int, _Recorded] = {}
        self._pool: Any = None  # graphs run one at a time, so they can share their memory

    def __call__(self, tiles: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As the network's forward pass; the results are overwritten by the next call."""
        frames = len(tiles) // self._tiles
        size = self.sizes[bisect_left(self.sizes, frames)]
        if size not in self._recorded:
            self._recorded[size] = self._record(size, tiles, mask)
        one = self._recorded[size]
        one.tiles[: len(tiles)].copy_(tiles, non_blocking=True)
        if one.mask is not None and mask is not None:
            one.mask[:frames].copy_(mask, non_blocking=True)
        one.graph.replay()
        scores, maps, features = one.results
        return scores[:frames], maps[:frames], features[:frames]

    def _record(self, size: int, tiles: Tensor, mask: Tensor | None) -> _Recorded:
        """Records the graph of `size` frames on buffers of its own."""
        pixels = tiles.new_zeros(size * self._tiles, *tiles.shape[1:])
        inspected = None if mask is None else mask.new_ones(size, *mask.shape[1:])
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._network(pixels, inspected)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            results = self._network(pixels, inspected)
        self._pool = self._pool or graph.pool()
        return _Recorded(graph, pixels, inspected, results)
