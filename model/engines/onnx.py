"""The scoring network as an ONNX file, and the engine that runs it. Needs the `onnx` extra."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from model.engines.base import Floats, memory_errors
from model.engines.tracing import example, missing, trace_batches
from model.images import Frame, InputSpec, Mask
from model.network import ScoringNetwork

LARGEST = 16  # tiles at once; more bring nothing on CPUs
OUTPUTS = ("scores", "maps", "features")


def write(network: ScoringNetwork, path: Path) -> None:
    """Writes the network as one self-contained ONNX file, for batches of any size: tiles (and mask) -> `OUTPUTS`.

    Args:
        network: folded, in evaluation mode, on the CPU, float32.
        path: of the file.

    Raises:
        EngineError: onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise missing("onnx") from None
    inputs = ("tiles", "mask")[: len(example(network.spec, 1))]
    program = trace_batches(network, network.spec)
    torch.onnx.export(
        program, (), path, input_names=inputs, output_names=OUTPUTS, dynamo=True, external_data=False, verbose=False
    )


class OnnxEngine:
    """Runs a file that `write` wrote, on the CPU.

    Args:
        path: of the file.
        spec: the network's input.
        threads: CPU threads; 0 leaves onnxruntime's number as it is.

    Raises:
        EngineError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, spec: InputSpec, threads: int = 0):
        try:
            import onnxruntime
        except ImportError:
            raise missing("onnx") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sizes = (1, max(1, LARGEST // spec.tiles))
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.name = f"cpu/fp32/onnxruntime-{version('onnxruntime')}"

    def run(self, tiles: Frame, mask: Mask | None) -> tuple[Floats, Floats, Floats]:
        given = {"tiles": tiles} if mask is None else {"tiles": tiles, "mask": mask}
        with memory_errors():
            scores, maps, features = self._session.run(OUTPUTS, given)
        return scores, maps, features
