"""The student decoder: the teacher's stages mirrored, from the code back to its three levels (section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from model.bottleneck import CODE, BasicBlock

PLANES = (256, 128, 64)


class Student(nn.Module):
    """Code N x 512 at stride 32 -> the teacher's levels at strides 4, 8, 16.

    Args:
        channels: of the teacher's levels.
        thin: end each level in a 1 x 1 conv to the teacher's channels.
        blocks: residual blocks per stage, deepest first: (2, 2, 2) for ResNet-18.
    """

    def __init__(self, channels: tuple[int, int, int], *, thin: bool, blocks: tuple[int, int, int] = (2, 2, 2)):
        super().__init__()
        inputs = (CODE, *PLANES[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                BasicBlock(inplanes, planes, enlarge=True), *(BasicBlock(planes, planes) for _ in range(count - 1))
            )
            for inplanes, planes, count in zip(inputs, PLANES, blocks, strict=True)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(planes, level, 1) if thin else nn.Identity()
            for planes, level in zip(PLANES, reversed(channels), strict=True)
        )

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels: list[Tensor] = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            code = stage(code)
            levels.append(head(code))
        return levels[2], levels[1], levels[0]
