"""What every engine is: prepared tiles in, scores, maps and features out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.images import Frame, Mask

Floats = npt.NDArray[np.float32]


class EngineError(Exception):
    """An engine that cannot be had or used; the message says what to install or change."""


class OutOfMemory(Exception):
    """The device has no room for this batch; a smaller one may fit."""


# As runtimes say it: torch on CPUs and GPUs, its CUDA libraries, OpenVINO and ONNX Runtime, C++.
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "Failed to allocate",
    "bad_alloc",
)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Makes `OutOfMemory` of what runtimes raise where memory runs out; most have no error of its own for that."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            raise OutOfMemory(str(error)) from None
        raise


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One frame's result.

    Attributes:
        score: largest value of the map; may be negative. NaN where map or features are not finite: the computation
            failed.
        map: float32, of the input's canvas; `model.images.to_frame` brings it into frame coordinates.
        features: float32, the teacher's third level averaged over the frame.
    """

    score: float
    map: Floats
    features: Floats


class Engine(Protocol):
    """Runs a `ScoringNetwork`. Not for several threads at once."""

    @property
    def name(self) -> str:
        """Device kind, precision, library and version: what scores depend on."""

    @property
    def sizes(self) -> Sequence[int]:
        """Batches, in frames ascending, that warming up should try; the last is the most that is worth giving."""

    def run(self, tiles: Frame, mask: Mask | None) -> tuple[Floats, Floats, Floats]:
        """Scores N, maps N x canvas and features N x channels of (N * T) tiles.

        Args:
            tiles: uint8 (N * T) x height x width x 3.
            mask: bool N x canvas, True where inspected; None exactly where the spec masks nothing.

        Raises:
            OutOfMemory: the batch does not fit.
        """
