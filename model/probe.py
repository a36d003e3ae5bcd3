"""Maps of pseudo-defects on a validation normal: what the choice of a form looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from model.anomaly_map import blend, hann, smooth
from model.distillation import Levels
from model.images import InputSpec, Prepared
from model.pseudo import pseudo_defects

COPIES = 4  # pseudo-defects of each normal, one of each kind
MOST = 40  # normals
BYTES = 256 << 20  # of maps


def probed(validation: Sequence[int], spec: InputSpec, channels: int) -> list[int]:
    """The validation normals that are probed: evenly spread, as many as their maps have room for."""
    room = BYTES // (COPIES * channels * spec.canvas[0] * spec.canvas[1] * 4)
    count = max(2, min(MOST, room, len(validation)))
    at = np.linspace(0, len(validation) - 1, min(count, len(validation))).round().astype(int)
    return [validation[one] for one in at]


def probe(
    frame: Prepared,
    spec: InputSpec,
    encode: Callable[[Tensor], Levels],
    raw: Callable[[Levels], Tensor],
    rng: np.random.Generator,
) -> Tensor:
    """Smoothed maps of one normal's pseudo-defects, float32 COPIES x C x canvas on the CPU.

    Args:
        frame: a prepared normal.
        spec: of the input.
        encode: uint8 N x height x width x 3 -> the teacher's levels.
        raw: levels -> maps that are added up, N x C x height x width (`model.score.components`).
        rng: draws the tile that changes, and the changes.
    """
    chosen = int(rng.integers(spec.tiles))
    top, left = spec.corners[chosen]
    mask = None if frame.mask is None else frame.mask[None, top : top + spec.height, left : left + spec.width]
    changed = pseudo_defects(frame.tiles[chosen][None], COPIES, rng, mask)[0]
    found = raw(encode(torch.from_numpy(changed)))
    if spec.tiles > 1:
        whole = raw(encode(torch.from_numpy(frame.tiles))).repeat(COPIES, 1, 1, 1, 1)
        whole[:, chosen] = found
        found = blend(whole.flatten(0, 1), spec, hann(spec).to(found))
    inspected = None if frame.mask is None else torch.from_numpy(np.array(frame.mask)).expand(COPIES, *spec.canvas)
    return smooth(found, None if inspected is None else inspected.to(found)).cpu()
