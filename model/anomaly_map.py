"""From two feature pyramids to an anomaly map and an image score (Deng & Li 2022, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from model.images import InputSpec

SIGMA = 4.0
RADIUS = 16


def distances(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> list[Tensor]:
    """1 - cosine over the channels, per pixel and scale: float32 N x H_s x W_s, 0 .. 2."""
    return [1 - _cosine(t.float(), s.float()) for t, s in zip(teacher, student, strict=True)]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    # Written as sums: one pass each, several times faster than F.cosine_similarity on channels-last tensors.
    product = (a * a).sum(1) * (b * b).sum(1)
    return (a * b).sum(1) * torch.rsqrt(product.clamp_min(1e-16))


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners: N x h x w -> N x size."""
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]


def hann(spec: InputSpec) -> Tensor:
    """Each tile's share of every canvas pixel, from a Hann window: T x height x width; shares of a pixel sum to 1."""
    sides = [torch.sin(torch.pi * (torch.arange(side) + 0.5) / side) ** 2 for side in (spec.height, spec.width)]
    window = sides[0][:, None] * sides[1]
    total = torch.zeros(spec.canvas)
    at = [(slice(top, top + spec.height), slice(left, left + spec.width)) for top, left in spec.corners]
    for place in at:
        total[place] += window
    return torch.stack([window / total[place] for place in at])


def blend(maps: Tensor, spec: InputSpec, shares: Tensor) -> Tensor:
    """Maps of tiles, (N * T) x C x height x width, frame by frame -> N x C x canvas, weighed by `hann`."""
    if spec.tiles == 1:
        return maps
    by_tile = (maps.reshape(-1, spec.tiles, *maps.shape[1:]) * shares[:, None]).unbind(1)
    height, width = spec.canvas
    return torch.stack([
        F.pad(tile, (left, width - left - spec.width, top, height - top - spec.height))
        for tile, (top, left) in zip(by_tile, spec.corners, strict=True)
    ]).sum(0)  # fmt: skip


def smooth(maps: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gaussian blur of N x C x H x W; with a mask (N x H x W, 1 = inspected) only inspected pixels are averaged.

    Pixels that are not inspected count as absent: maps are set to 0 there and the blur is divided by the blurred mask
    (normalised convolution, Knutsson & Westin, CVPR 1993). Their own values afterwards mean nothing.
    """
    if mask is None:
        return blur(maps)
    weight = mask[:, None].to(maps.dtype)
    return blur(maps * weight) / blur(weight).clamp_min(1e-6)


def blur(maps: Tensor) -> Tensor:
    """Separable Gaussian with sigma 4 and radius 16 pixels, borders mirrored about the edge: N x C x H x W.

    The border is half-sample symmetric, as SciPy's `reflect`. Each side must have at least 16 pixels.
    """
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=maps.dtype, device=maps.device)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    height, width = maps.shape[-2:]
    flat = maps.reshape(-1, 1, height, width)
    flat = F.conv2d(_mirror(flat, -1), kernel.view(1, 1, 1, -1))
    flat = F.conv2d(_mirror(flat, -2), kernel.view(1, 1, -1, 1))
    return flat.reshape(maps.shape)


def _mirror(maps: Tensor, dim: int) -> Tensor:
    """Pads both ends of a dimension by RADIUS, the edge pixel repeated; torch's `reflect` would leave it out."""
    size = maps.shape[dim]
    before = maps.narrow(dim, 0, RADIUS).flip(dim)
    after = maps.narrow(dim, size - RADIUS, RADIUS).flip(dim)
    return torch.cat([before, maps, after], dim)


def image_score(maps: Tensor) -> Tensor:
    """The largest value of each map, N x H x W: N. Raw, never clamped."""
    return maps.flatten(1).amax(1)
