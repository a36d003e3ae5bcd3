"""What a frame says of its camera: a few numbers, taken where the pixels are, kept when they are let go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

import model.images as images  # first: it limits what cv2 may decode

import cv2  # isort: skip

GRID = 64  # places each way
TILE = (16, 32)  # rows and columns that lie together
TILES = 8  # each way
CLIPPED = 250  # grey levels: JPEG blurs the 255 of an overexposed spot a little

Grid = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Of one frame.

    Attributes:
        grid: uint8, GRID * GRID long: the brightest channel of single pixels at fixed places. Single pixels, not means
            of blocks or a hash: they keep the sensor's noise, which tells a still part from a frozen picture, and show
            how much is equal. The brightest channel, since a red lamp leaves the other two dark.
        brightest: the grey level that one pixel in a thousand exceeds.
        saturated: share of pixels at CLIPPED or more, 0 .. 1.
        sharpness: see `sharpness`; None of frames smaller than a TILE.
    """

    grid: Grid
    brightest: int
    saturated: float
    sharpness: float | None


def measure(frame: images.Frame) -> Measures:
    """Measures a frame: uint8 H x W x 3, RGB, of any size. Thread-safe."""
    pixels = frame.reshape(-1, 3).take(_places(*frame.shape[:2]), axis=0)
    grid = np.maximum(np.maximum(pixels[:, 0], pixels[:, 1]), pixels[:, 2])
    rank = grid.size - grid.size // 1000 - 1
    return Measures(
        grid=grid,
        brightest=int(np.partition(grid, rank)[rank]),
        saturated=np.count_nonzero(grid >= CLIPPED) / grid.size,
        sharpness=sharpness(frame),
    )


def sharpness(frame: images.Frame) -> float | None:
    """Logarithm of the energy of the Laplacian at half size, over the squared mean brightness.

    The energy of the Laplacian is a focus measure of Subbarao, Choi and Nikzad (1993), one of those compared by Pertuz,
    Puig and Garcia (Pattern Recognition 46, 2013). Half size, because at full size a sensor's noise hides a loss of
    focus. Over the brightness, so that a lamp that ages or an exposure that changes is no loss of focus; unlike a ratio
    of two scales it falls further the worse the focus is. It compares frames of one scene: what is sharp depends on the
    part. Where noise is all there is to see, it says nothing.

    Measured in tiles spread evenly over the frame: it costs the same for frames of every size.
    """
    mosaic = _mosaic(frame)
    if not mosaic.size:
        return None
    height, width = mosaic.shape[:2]
    grey = cv2.cvtColor(mosaic, cv2.COLOR_RGB2GRAY)
    half = cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    edges = cv2.Laplacian(half, cv2.CV_16S)
    # Where two tiles meet there is an edge that the frame does not have.
    inside = edges.reshape(-1, TILE[0] // 2, width // TILE[1], TILE[1] // 2)[:, 1:-1, :, 1:-1]
    energy = cv2.norm(inside.reshape(1, -1), cv2.NORM_L2SQR) / inside.size
    return math.log((energy + 1) / (cv2.mean(grey)[0] ** 2 + 1))


def _mosaic(frame: images.Frame) -> images.Frame:
    """The tiles side by side."""
    down, right = (min(TILES, side // tile) for side, tile in zip(frame.shape, TILE, strict=False))
    if not down or not right:
        return frame[:0]
    steps = frame.shape[0] // down, frame.shape[1] // right
    first = [(step - tile) // 2 for step, tile in zip(steps, TILE, strict=True)]
    row, column, channel = frame.strides
    tiles = np.lib.stride_tricks.as_strided(
        frame[first[0] :, first[1] :],
        (down, TILE[0], right, TILE[1], 3),
        (steps[0] * row, row, steps[1] * column, column, channel),
        writeable=False,
    )
    return tiles.reshape(down * TILE[0], right * TILE[1], 3)


@lru_cache(64)
def _places(height: int, width: int) -> npt.NDArray[np.intp]:
    rows, columns = (((np.arange(GRID) + 0.5) * side / GRID).astype(np.intp) for side in (height, width))
    return (rows[:, None] * width + columns).ravel()
