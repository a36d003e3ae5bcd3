"""A scoring network as a graph that other runtimes read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.utils._pytree import tree_map

from model.engines.base import EngineError
from model.images import InputSpec


def example(spec: InputSpec, frames: int) -> tuple[Tensor, ...]:
    """What the network takes: tiles, and the mask where the spec is masked."""
    tiles = torch.full((frames * spec.tiles, spec.height, spec.width, 3), 127, dtype=torch.uint8)
    return (tiles, torch.ones(frames, *spec.canvas, dtype=torch.bool)) if spec.masked else (tiles,)


def trace(module: nn.Module, arguments: tuple[Any, ...]) -> ExportedProgram:
    """Follows a forward pass; the graph takes tensors of just these shapes."""
    with torch.no_grad():
        return export(module, arguments, strict=False)


def trace_batches(module: nn.Module, spec: InputSpec) -> ExportedProgram:
    """Follows a network's forward pass; the graph takes any number of frames."""
    least = 2  # with one frame, the tracer would take the batch for a constant
    frames = Dim("frames")

    def batched(tensor: Tensor) -> dict[int, Any]:
        each = len(tensor) // least
        return {0: frames if each == 1 else each * frames}

    arguments = example(spec, least)
    with torch.no_grad():
        return export(module, arguments, dynamic_shapes=tree_map(batched, arguments), strict=False)


def missing(extra: str) -> EngineError:
    """What to say where a runtime is not installed."""
    return EngineError(f"this needs the {extra} extra: pip install 'goodpart[{extra}]'")
