"""OCBE, the one-class bottleneck embedding: multi-scale fusion, then a residual stage (Deng & Li 2022, section 3.3)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

CODE = 512  # planes of the code at stride 32


def norm_relu(*convs: nn.Module, channels: int) -> list[nn.Module]:
    """A conv, its BatchNorm, ReLU."""
    return [*convs, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def conv3(inplanes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    """3 x 3 conv without bias."""
    return nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """ResNet's basic block (He et al. 2016); `enlarge` makes its first conv and its shortcut transposed."""

    def __init__(self, inplanes: int, planes: int, *, stride: int = 1, enlarge: bool = False):
        super().__init__()
        if enlarge:
            first: nn.Module = nn.ConvTranspose2d(inplanes, planes, 2, 2, bias=False)
            shortcut: nn.Module = nn.ConvTranspose2d(inplanes, planes, 2, 2, bias=False)
        else:
            first, shortcut = conv3(inplanes, planes, stride), nn.Conv2d(inplanes, planes, 1, stride, bias=False)
        skips = stride == 1 and inplanes == planes and not enlarge
        self.inner = nn.Sequential(
            *norm_relu(first, channels=planes), conv3(planes, planes), nn.BatchNorm2d(planes)
        )  # fmt: skip
        self.shortcut = nn.Identity() if skips else nn.Sequential(shortcut, nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) + self.shortcut(x))


class Bottleneck(nn.Module):
    """Levels at strides 4, 8, 16 -> code N x 512 at stride 32.

    Args:
        channels: of the teacher's levels.
        thin: fuse at width 256 whatever the teacher's own width, level 3 through a 1 x 1 conv; else at level 3's width.
        blocks: of the residual stage: 2 for ResNet-18.
    """

    def __init__(self, channels: tuple[int, int, int], *, thin: bool, blocks: int = 2):
        super().__init__()
        first, second, third = channels
        width = 256 if thin else third
        middle = 128 if thin else second
        self.first = nn.Sequential(
            *norm_relu(conv3(first, middle, 2), channels=middle), *norm_relu(conv3(middle, width, 2), channels=width)
        )
        self.second = nn.Sequential(*norm_relu(conv3(second, width, 2), channels=width))
        level = norm_relu(nn.Conv2d(third, width, 1, bias=False), channels=width) if thin else [nn.Identity()]
        self.third = nn.Sequential(*level)
        stage = [BasicBlock(3 * width, CODE, stride=2), *(BasicBlock(CODE, CODE) for _ in range(blocks - 1))]
        self.embed = nn.Sequential(*stage)

    def forward(self, levels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        fused = torch.cat([self.first(levels[0]), self.second(levels[1]), self.third(levels[2])], dim=1)
        return cast(Tensor, self.embed(fused))
