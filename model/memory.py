"""A small memory of normal patches on the teacher's own features (after Roth et al., CVPR 2022), made in seconds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

PROTOTYPES = 1000
CANDIDATES = 20_000  # patches among which prototypes are chosen
PROJECTED = 64  # dimensions in which they are compared while choosing


def patches(levels: Sequence[Tensor]) -> Tensor:
    """Levels at strides 4, 8, 16 -> patch features at stride 8: float32 N x D x h x w, D = channels of the last two.

    Each is the mean over its 3 x 3 neighbours, so that a small shift changes little.
    """
    second, third = (F.avg_pool2d(level.float(), 3, 1, 1) for level in levels[1:])
    third = F.interpolate(third, second.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([second, third], 1)


def inspected(features: Tensor, masks: Sequence[Tensor] | None) -> Tensor:
    """The patches that count, as rows: N x D x h x w -> M x D; `masks` as `Features.level_masks` gives them."""
    rows = features.permute(0, 2, 3, 1)
    return rows.flatten(0, 2) if masks is None else rows[masks[1][:, 0] > 0]


def nearest(features: Tensor, prototypes: Tensor) -> Tensor:
    """Euclidean distance to the nearest prototype: N x D x h x w, K x D -> N x h x w.

    NaN where a feature is: rounding below zero is taken off by `abs`, since a maximum with 0 loses NaN in some engines.
    """
    rows = features.permute(0, 2, 3, 1)
    centre = prototypes.mean(0)  # what both sides share is left out, so that little cancels below
    flat, near = rows.reshape(-1, rows.shape[-1]) - centre, prototypes - centre
    squared = torch.addmm((near * near).sum(1), flat, near.T, alpha=-2).amin(-1)
    return (squared + (flat * flat).sum(-1)).abs().sqrt().reshape(rows.shape[:3])


def drawn(rows: Tensor, frames: int, seed: int) -> Tensor:
    """One frame's candidates among its patches, M x D: its share of `CANDIDATES` over that many frames.

    Of more frames fewer are drawn of each, and these are among those drawn before.
    """
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[: max(1, CANDIDATES // frames)].to(rows.device)]


def chosen(candidates: Tensor, count: int, seed: int) -> Tensor:
    """A greedy k-centre choice, as row numbers: each next prototype is the patch farthest from all chosen ones.

    Args:
        candidates: float32 M x D patch features of good parts; the first one is chosen first.
        count: prototypes wanted; fewer where there are fewer patches.
        seed: of the projection.

    Source: Gonzalez 1985; Sener & Savarese, ICLR 2018; distances after a random projection (Johnson & Lindenstrauss).
    """
    generator = torch.Generator().manual_seed(seed)
    projection = torch.randn(candidates.shape[1], PROJECTED, generator=generator).to(candidates) / PROJECTED**0.5
    small = candidates @ projection
    norms = (small * small).sum(1)
    farthest = torch.full_like(norms, torch.inf)
    found, at = [], 0
    for _ in range(min(count, len(candidates))):
        found.append(at)
        farthest = torch.minimum(farthest, norms + norms[at] - 2 * (small @ small[at]))
        at = int(farthest.argmax())
    return torch.tensor(found, device=candidates.device)
