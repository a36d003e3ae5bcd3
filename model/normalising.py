"""The default score's normalisations, measured on validation normals: good images, judged without what they taught."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from model.anomaly_map import blend, distances, hann, smooth
from model.distillation import Levels
from model.features import Features
from model.score import LEAST, Normalisation, components

BATCH = 16  # tiles at once
Reconstruct = Callable[[Levels], Levels]
Advance = Callable[[int], None]


def measure_scales(
    features: Features, frames: Sequence[int], reconstruct: Reconstruct | None, advance: Advance
) -> Normalisation:
    """Mean and deviation of each scale's distances where they are inspected, shapes (3,), on the CPU.

    (0, 1) without a student, and for a scale of whose features no two are inspected.
    """
    kept: list[list[Tensor]] = [[], [], []]
    for part in _batches(frames, features.spec.tiles):
        if reconstruct:
            tiles = features.tiles_of(part)
            levels, masks = features.batch(tiles), features.level_masks(tiles)
            for at, scale in enumerate(distances(levels, reconstruct(levels))):
                kept[at].append(scale[masks[at][:, 0] > 0] if masks else scale.flatten())
        advance(len(part))
    mean, deviation = torch.zeros(3), torch.ones(3)
    for at, parts in enumerate(kept):
        joined = torch.cat(parts).double() if parts else torch.empty(0)
        if len(joined) > 1:
            mean[at], deviation[at] = joined.mean(), joined.std()
    return Normalisation(mean, deviation.clamp_min(LEAST))


def smoothed_maps(
    features: Features,
    frames: Sequence[int],
    reconstruct: Reconstruct | None,
    prototypes: Tensor | None,
    scales: Normalisation,
    advance: Advance,
) -> Tensor:
    """The maps that are normalised and added up, n x C x canvas (see `model.score.components`), on the device."""
    spec = features.spec
    shares = hann(spec)
    found = []
    for part in _batches(frames, spec.tiles):
        levels = features.batch(features.tiles_of(part))
        device = levels[0].device
        near = None if prototypes is None else prototypes.to(device)
        on_device = Normalisation(scales.mean.to(device), scales.deviation.to(device))
        student = reconstruct(levels) if reconstruct else None
        raw = components(levels, student, on_device, near, (spec.height, spec.width))
        found.append(smooth(blend(raw, spec, shares.to(device)), features.mask(part)))
        advance(len(part))
    return torch.cat(found)


def _batches(frames: Sequence[int], tiles: int) -> Iterator[Sequence[int]]:
    size = max(1, BATCH // tiles)
    return (frames[start : start + size] for start in range(0, len(frames), size))
