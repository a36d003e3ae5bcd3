"""OCBE, the one-class bottleneck embedding: multi-scale fusion, then a residual stage (Deng & Li 2022, section 3.3)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from model.encoders import Stages

CODE = 512  # planes of the code at stride 32
THIN = (128, 256)  # widths that a thin teacher's levels are brought to


def norm_relu(conv: nn.Module, channels: int) -> list[nn.Module]:
    """A conv, its BatchNorm, ReLU."""
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]


def conv3(inplanes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    """3 x 3 conv without bias."""
    return nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)


def conv1(inplanes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    """1 x 1 conv without bias."""
    return nn.Conv2d(inplanes, planes, 1, stride, bias=False)


def enlarge2(inplanes: int, planes: int) -> nn.ConvTranspose2d:
    """2 x 2 transposed conv without bias: twice the height and width."""
    return nn.ConvTranspose2d(inplanes, planes, 2, 2, bias=False)


class Block(nn.Module):
    """ResNet's basic or bottleneck block (He et al. 2016, figure 5), with `planes * stages.expansion` output channels.

    Args:
        inplanes: channels in.
        planes: of the block.
        stages: the teacher's.
        stride: 2 halves height and width: in a basic block's first conv, in a bottleneck block's middle one.
        enlarge: that conv, and the shortcut's, are transposed: they double height and width.
    """

    def __init__(self, inplanes: int, planes: int, stages: Stages, *, stride: int = 1, enlarge: bool = False):
        super().__init__()
        outputs = planes * stages.expansion
        width = stages.width(planes)
        if stages.expansion == 1:
            resized = enlarge2(inplanes, planes) if enlarge else conv3(inplanes, planes, stride)
            convs = [*norm_relu(resized, planes), conv3(planes, planes)]
        else:
            resized = enlarge2(width, width) if enlarge else conv3(width, width, stride)
            convs = [*norm_relu(conv1(inplanes, width), width), *norm_relu(resized, width), conv1(width, outputs)]
        self.inner = nn.Sequential(*convs, nn.BatchNorm2d(outputs))
        shortcut: nn.Module = nn.Identity()
        if enlarge or stride != 1 or inplanes != outputs:
            conv = enlarge2(inplanes, outputs) if enlarge else conv1(inplanes, outputs, stride)
            shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(x) + self.shortcut(x))


def residual_stage(
    inplanes: int, planes: int, count: int, stages: Stages, *, stride: int = 1, enlarge: bool = False
) -> nn.Sequential:
    """`count` blocks, the first of which resizes."""
    first = Block(inplanes, planes, stages, stride=stride, enlarge=enlarge)
    return nn.Sequential(first, *(Block(planes * stages.expansion, planes, stages) for _ in range(count - 1)))


class Bottleneck(nn.Module):
    """Levels at strides 4, 8, 16 -> code N x 512 * expansion at stride 32.

    Args:
        channels: of the teacher's levels.
        stages: whose block, and number of blocks in the last stage, the embedding has.
        thin: fuse at width 256 whatever the teacher's own width, level 3 through a 1 x 1 conv; else at level 3's width.
    """

    def __init__(self, channels: tuple[int, int, int], stages: Stages, *, thin: bool):
        super().__init__()
        first, second, third = channels
        middle, width = THIN if thin else (second, third)
        self.first = nn.Sequential(
            *norm_relu(conv3(first, middle, 2), middle), *norm_relu(conv3(middle, width, 2), width)
        )  # fmt: skip
        self.second = nn.Sequential(*norm_relu(conv3(second, width, 2), width))
        self.third = nn.Sequential(*(norm_relu(conv1(third, width), width) if thin else [nn.Identity()]))
        self.embed = residual_stage(3 * width, CODE, stages.blocks[3], stages, stride=2)

    def forward(self, levels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        fused = torch.cat([self.first(levels[0]), self.second(levels[1]), self.third(levels[2])], dim=1)
        return cast(Tensor, self.embed(fused))
