"""Pseudo-defects on good images: they choose between forms of the score without labels, and never train anything.

After CutPaste (Li et al., CVPR 2021), with spots and local blur beside its patches and scars.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from model.images import Frame, Mask

Alpha = npt.NDArray[np.float32]
Change = Callable[[Frame, Frame, np.random.Generator], Frame]
SMALL, LARGE = 0.03, 0.12  # of a tile's side: half axes of what is changed


def pseudo_defects(tiles: Frame, per_tile: int, rng: np.random.Generator, masks: Mask | None = None) -> Frame:
    """Copies of good tiles, each with one small change somewhere.

    Args:
        tiles: uint8 n x height x width x 3.
        per_tile: copies of each, of the kinds in turn.
        rng: draws places, sizes and strengths.
        masks: bool n x height x width: changes are centred where it is True; None for anywhere.

    Returns:
        uint8 n x per_tile x height x width x 3.
    """
    made = np.repeat(tiles[:, None], per_tile, axis=1)
    for number, tile in enumerate(tiles):
        places = None if masks is None or not masks[number].any() else np.argwhere(masks[number])
        for copy in range(per_tile):
            change, slim = KINDS[(number + copy) % len(KINDS)]
            changed = change(tile, tiles[int(rng.integers(len(tiles)))], rng)
            made[number, copy] = _mixed(tile, changed, _ellipse(tile.shape, rng, slim, places))
    return made


def _patch(tile: Frame, other: Frame, rng: np.random.Generator) -> Frame:
    """What some good tile has elsewhere."""
    down, across = (int(rng.integers(side // 8, side - side // 8)) for side in tile.shape[:2])
    return np.roll(other, (down, across), axis=(0, 1))


def _shade(tile: Frame, other: Frame, rng: np.random.Generator) -> Frame:
    """Lighter or darker by one half to two of the tile's own deviations, at least by 10 grey levels."""
    strength = max(10.0, float(tile.std()) * float(rng.uniform(0.5, 2.0)))
    sign = 1 if rng.random() < 0.5 else -1
    return np.asarray(np.clip(tile + sign * strength, 0, 255), np.uint8)


def _soften(tile: Frame, other: Frame, rng: np.random.Generator) -> Frame:
    """Without texture."""
    return np.asarray(cv2.GaussianBlur(tile, (0, 0), 0.02 * max(tile.shape[:2])), np.uint8)


# A piece in a wrong place, a scratch, a stain, a worn place: what changes, and the least and largest slimness.
KINDS: tuple[tuple[Change, tuple[float, float]], ...] = (
    (_patch, (0.5, 1.0)),
    (_shade, (0.04, 0.2)),
    (_shade, (0.5, 1.0)),
    (_soften, (0.5, 1.0)),
)


def _ellipse(
    shape: tuple[int, ...], rng: np.random.Generator, slim: tuple[float, float], places: npt.NDArray[np.intp] | None
) -> Alpha:
    height, width = shape[:2]
    half = float(rng.uniform(SMALL, LARGE)) * min(height, width)
    axes = (max(2, round(half)), max(1, round(half * float(rng.uniform(*slim)))))
    row, column = rng.integers((height, width)) if places is None else places[int(rng.integers(len(places)))]
    alpha = np.zeros((height, width), np.float32)
    cv2.ellipse(alpha, (int(column), int(row)), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), 1.0), np.float32)


def _mixed(tile: Frame, changed: Frame, alpha: Alpha) -> Frame:
    weight = alpha[..., None]
    return np.clip(np.rint(tile * (1 - weight) + changed * weight), 0, 255).astype(np.uint8)
