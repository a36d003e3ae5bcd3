"""Enlarging and smoothing as matrices: both are linear and separable, so a map X becomes R X C^T."""

from __future__ import annotations

import torch
from torch import Tensor

from model.anomaly_map import RADIUS, SIGMA


def interpolation(source: int, target: int) -> Tensor:
    """Linear interpolation with aligned corners: float64 target x source."""
    at = torch.arange(target, dtype=torch.float64) * ((source - 1) / (target - 1))
    distance = (at[:, None] - torch.arange(source, dtype=torch.float64)).abs()
    return (1 - distance).clamp_min(0)


def gaussian(size: int) -> Tensor:
    """The blur of `model.anomaly_map`, its mirrored borders included: float64 size x size, rows summing to 1."""
    offsets = torch.arange(-RADIUS, RADIUS + 1)
    weights = torch.exp(-0.5 * (offsets.double() / SIGMA) ** 2)
    seen = torch.arange(size)[:, None] + offsets
    seen = torch.where(seen < 0, -1 - seen, seen)
    seen = torch.where(seen >= size, 2 * size - 1 - seen, seen)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, seen, (weights / weights.sum()).expand(size, -1))


def separably(maps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """R X C^T of each map: N x h x w, H x h, W x w -> N x H x W."""
    return rows @ maps @ columns.T
