"""What every engine is: prepared tiles in, scores, maps and features out."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One frame's result.

    Attributes:
        score: largest value of the map; may be negative, is not finite only if the computation failed.
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
