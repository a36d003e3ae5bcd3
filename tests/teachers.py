"""Teachers for tests: one that costs nothing, and a ResNet-18 with random weights in a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from model.encoders import RESNET18, ResNetLevels
from model.teacher import KINDS, Teacher

TOY = "efficientnet_lite2"


class _Pyramid(nn.Module):
    """An encoder whose features at a place depend on that place's pixels alone: pooled, in random mixtures."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.mixtures = nn.ParameterList(
            torch.randn(channels, 3, 1, 1, generator=generator) for channels in KINDS[TOY].channels
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [
            F.conv2d(F.avg_pool2d(x, stride), mixture)
            for stride, mixture in zip((4, 8, 16), self.mixtures, strict=True)
        ]


def toy_teacher() -> Teacher:
    return Teacher(TOY, _Pyramid(), "0" * 64)


def random_resnet18(folder: Path) -> str:
    """A weights file; what it computes is as sensitive as the real one."""
    torch.manual_seed(0)
    encoder = ResNetLevels(RESNET18)
    for parameter in encoder.parameters():
        if parameter.dim() == 4:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    path = folder / "resnet18.safetensors"
    save_file(encoder.state_dict(), path)
    return str(path)
