"""Vectors of made-up parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.store.item_vectors import SIDE, Vector

SPACE = "5" * 64


def spot(row: int, column: int, looks: Sequence[float] = (3, 4), noise: int = 0) -> Vector:
    """Heat in 2 x 2 cells, on weak noise of that seed."""
    heat = np.random.default_rng(noise).integers(0, 20, (SIDE, SIDE))
    heat[row : row + 2, column : column + 2] = 255
    return Vector(SPACE, unit(looks), heat.astype(np.uint8).tobytes(), 0.0, 1.0)


def unit(looks: Sequence[float]) -> bytes:
    """Features of that direction."""
    return (np.array(looks, np.float64) / np.linalg.norm(looks)).astype("<f2").tobytes()
