"""Vectors of frames that are kept: what the scorer saw of them, made small enough to compare by the thousand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import model.images  # noqa: F401 - first: it limits what cv2 may decode

import cv2  # isort: skip

from agent.pipeline.pictures import Heatmap
from agent.store.item_vectors import SIDE, Vector

FINE = 16  # pixels of a cell, down and across, before they are averaged


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The pooled features of one frame, and the space in which they may be compared."""

    values: npt.NDArray[np.float32]
    space: str


def vector(features: Features, heatmap: Heatmap) -> Vector | None:
    """The vector of one frame; None where its features are no direction."""
    direction = unit(features.values)
    if direction is None:
        return None
    cells: Any = cv2.resize(heatmap.over((SIDE * FINE, SIDE * FINE)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    low, high = float(cells.min()), float(cells.max())
    grey = np.rint((cells - low) * (255 / max(high - low, 1e-12)))
    return Vector(features.space, direction, grey.astype(np.uint8).tobytes(), low, high)


def unit(features: npt.NDArray[np.float32]) -> bytes | None:
    """Their direction as it is stored, little-endian float16; None where they have none."""
    length = float(np.linalg.norm(features))
    return (features / length).astype("<f2").tobytes() if np.isfinite(length) and length > 0 else None
