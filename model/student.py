"""The student decoder: the teacher's stages mirrored, from the code back to its three levels (section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from model.bottleneck import CODE, residual_stage
from model.encoders import Stages

PLANES = (256, 128, 64)


class Student(nn.Module):
    """Code N x 512 * expansion at stride 32 -> the teacher's levels at strides 4, 8, 16.

    The released code gives the deepest stage the teacher's first count of blocks, (3, 4, 6) for ResNet-50, and not
    the mirrored (6, 4, 3); so does this.

    Args:
        channels: of the teacher's levels.
        stages: whose block, and numbers of blocks, the stages have.
        thin: end each level in a 1 x 1 conv to the teacher's channels.
    """

    def __init__(self, channels: tuple[int, int, int], stages: Stages, *, thin: bool):
        super().__init__()
        outputs = [planes * stages.expansion for planes in PLANES]
        inputs = [CODE * stages.expansion, *outputs[:-1]]
        self.stages = nn.ModuleList(
            residual_stage(inplanes, planes, count, stages, enlarge=True)
            for inplanes, planes, count in zip(inputs, PLANES, stages.blocks[:3], strict=True)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(width, level, 1) if thin else nn.Identity()
            for width, level in zip(outputs, reversed(channels), strict=True)
        )

    def forward(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        levels: list[Tensor] = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            code = stage(code)
            levels.append(head(code))
        return levels[2], levels[1], levels[0]
