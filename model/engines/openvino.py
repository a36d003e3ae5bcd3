"""The OpenVINO engine, for CPUs. Needs the `openvino` extra."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.engines.base import EngineError, Floats, memory_errors
from model.engines.openvino_graph import Model, cut, library, quantiser, version
from model.images import Frame, InputSpec, Mask
from model.precision import choose_dtype, computes_bf16, name_of

LARGEST = 16  # tiles given at once; more bring nothing on CPUs
NAMES = {"f32": "fp32", "bf16": "bf16"}
CPU = torch.device("cpu")
Arrays = Sequence[npt.NDArray[Any]]


class OpenVinoEngine:
    """Runs a converted network, one frame a request and several requests at once.

    So a score does not depend on its batch, and shapes are fixed: with a batch of any size OpenVINO 2026.4 computed
    wrong int8 features.

    Args:
        model: of one frame, as `model.engines.openvino_graph` converts or reads it; consumed.
        spec: the network's input.
        precision: "auto", "fp32", "bf16" or "int8". bfloat16 is for the network's first half, and only where the CPU
            computes in it; where it pays, too, it is for what a quantised model's first half leaves in floating point.
        threads: CPU threads; 0 leaves OpenVINO's number as it is.

    Attributes:
        name: says what is computed, not what was asked for; int8 names NNCF too.

    Raises:
        EngineError: openvino is not installed, or the model is not of this precision.
    """

    def __init__(self, model: Model, spec: InputSpec, precision: str, threads: int = 0):
        wanted, by = wanted_precision(precision), quantiser(model)
        if (wanted == "int8") != (by is not None):
            raise EngineError(f"precision {precision!r} of a model that is {'not ' if by is None else ''}quantised")
        self._tiles = spec.tiles
        self.sizes = (1, max(1, LARGEST // spec.tiles))
        halves = (model,) if wanted == "fp32" else cut(model)
        first = "bf16" if _first_half(wanted) is torch.bfloat16 else "f32"
        self._stages = [_Stage(half, first if at == 0 else "f32", threads) for at, half in enumerate(halves)]
        rest = NAMES[self._stages[0].precision]
        shown = f"int8+{rest}" if by else rest
        self.name = f"cpu/{shown}/openvino-{version()}{f'+{by}' if by else ''}"

    def run(self, tiles: Frame, mask: Mask | None) -> tuple[Floats, Floats, Floats]:
        frames = len(tiles) // self._tiles
        pixels = [tiles[at * self._tiles : (at + 1) * self._tiles] for at in range(frames)]
        masks = [[] if mask is None else [mask[at : at + 1]] for at in range(frames)]
        with memory_errors():
            if len(self._stages) == 1:
                found = self._stages[0]([[one, *more] for one, more in zip(pixels, masks, strict=True)])
            else:
                compared = self._stages[0]([[one] for one in pixels])
                fused = self._stages[1]([[*row[1:], *more] for row, more in zip(compared, masks, strict=True)])
                found = [[*row, first[0]] for row, first in zip(fused, compared, strict=True)]
        scores, maps, features = (np.concatenate(part) for part in zip(*found, strict=True))
        return scores, maps, features


class _Stage:
    """A compiled model, twice: for one frame with all threads on it, and for several with some threads on each."""

    def __init__(self, model: Model, precision: str, threads: int):
        ov = library()
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        several, alone = (
            ov.Core().compile_model(model, "CPU", {**settings, "PERFORMANCE_HINT": hint})
            for hint in ("THROUGHPUT", "LATENCY")
        )
        self.precision = str(several.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        self._alone, self._several = alone.create_infer_request(), several
        self._queue = _queue(several)

    def __call__(self, inputs: Sequence[Arrays]) -> list[list[Floats]]:
        """The outputs of each frame for the inputs of each frame."""
        if len(inputs) == 1:
            return [_outputs(self._alone.infer(list(inputs[0])))]
        found: list[list[Floats]] = [[] for _ in inputs]
        try:
            for at, given in enumerate(inputs):
                self._queue.start_async(list(given), userdata=(found, at))
            self._queue.wait_all()
        except Exception:
            self._renew()
            raise
        return found

    def _renew(self) -> None:
        """Another queue: one that failed once raises that error for ever.

        `wait_all` ends with the first request that failed. Those behind it may still run then, and would call back
        into a queue that is no more.
        """
        for request in self._queue:
            with suppress(Exception):
                request.wait()
        self._queue = _queue(self._several)


def _queue(compiled: Any) -> Any:
    queue = library().AsyncInferQueue(compiled)
    queue.set_callback(_keep)
    return queue


def _keep(request: Any, place: tuple[list[list[Floats]], int]) -> None:
    found, at = place
    found[at] = _outputs(request.results)


def _outputs(results: Any) -> list[Floats]:
    return [np.array(value) for value in results.values()]


def wanted_precision(precision: str) -> str:
    """What "auto" stands for: bf16 where it pays on this CPU, else fp32.

    Raises:
        EngineError: there is no such precision.
    """
    if precision not in ("auto", "fp32", "bf16", "int8"):
        raise EngineError(f"precision {precision!r}: 'auto', 'fp32', 'bf16' or 'int8' is allowed")
    if precision == "auto":
        return name_of(choose_dtype("auto", CPU))
    return precision


def _first_half(wanted: str) -> torch.dtype:
    if wanted == "bf16" and not computes_bf16(CPU):
        return torch.float32
    return choose_dtype("auto" if wanted == "int8" else wanted, CPU)
