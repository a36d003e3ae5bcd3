"""From two feature pyramids to an anomaly map and an image score (Deng & Li 2022, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SIGMA = 4.0
RADIUS = 16


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and deviation of each scale's distance map over validation normals.

    With (0, 0, 0) and (1, 1, 1) the map is the paper's.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)


PAPER = Normalisation()


def distances(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
    """1 - cosine over the channels, per pixel and scale: float32 N x H_s x W_s, 0 .. 2."""
    return [1 - _cosine(t.float(), s.float()) for t, s in zip(teacher, student, strict=True)]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    # Written as sums: one pass each, several times faster than F.cosine_similarity on channels-last tensors.
    product = (a * a).sum(1) * (b * b).sum(1)
    return (a * b).sum(1) * torch.rsqrt(product.clamp_min(1e-16))


def anomaly_map(scales: Sequence[Tensor], size: tuple[int, int], normalisation: Normalisation) -> Tensor:
    """Distance maps -> their standardised sum at model-input size, smoothed: float32 N x H x W.

    Bilinear with aligned corners; Gaussian with sigma 4 and radius 16 pixels, borders mirrored about the edge
    (half-sample symmetric, as SciPy's `reflect`).
    """
    total = torch.stack([
        F.interpolate(((scale - mean) / deviation)[:, None], size, mode="bilinear", align_corners=True)
        for scale, mean, deviation in zip(scales, normalisation.mean, normalisation.deviation, strict=True)
    ]).sum(0)  # fmt: skip
    return blur(total)[:, 0]


def blur(maps: Tensor) -> Tensor:
    """Separable Gaussian blur of N x 1 x H x W. Each side must have at least 16 pixels."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    maps = F.conv2d(_mirror(maps, -1), kernel.view(1, 1, 1, -1))
    return F.conv2d(_mirror(maps, -2), kernel.view(1, 1, -1, 1))


def _mirror(maps: Tensor, dim: int) -> Tensor:
    """Pads both ends of a dimension by RADIUS, the edge pixel repeated; torch's `reflect` would leave it out."""
    size = maps.shape[dim]
    before = maps.narrow(dim, 0, RADIUS).flip(dim)
    after = maps.narrow(dim, size - RADIUS, RADIUS).flip(dim)
    return torch.cat([before, maps, after], dim)


def image_score(maps: Tensor) -> Tensor:
    """The largest value of each map: N. Raw, never clamped."""
    return maps.flatten(1).amax(1)
