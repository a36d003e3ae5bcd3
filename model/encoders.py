"""ResNets cut after stride 16, with BatchNorm folded into the convs (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

State = Mapping[str, Tensor]
USED = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.")  # what a file names of the layers up to stride 16


@dataclass(frozen=True, slots=True)
class Stages:
    """The residual stages of a ResNet (He et al. 2016, table 1; wide ones: Zagoruyko & Komodakis 2016).

    Attributes:
        blocks: in each stage. The first three are the teacher's and, deepest first, the student's; the last is the
            one-class embedding's, which stands where the teacher's fourth stage would.
        expansion: output channels per plane: 1 for basic blocks, 4 for bottleneck blocks.
        base_width: channels of a bottleneck block's 3 x 3 conv, per 64 planes.
    """

    blocks: tuple[int, int, int, int]
    expansion: int = 1
    base_width: int = 64

    def width(self, planes: int) -> int:
        """Channels of a bottleneck block's 3 x 3 conv."""
        return planes * self.base_width // 64


RESNET18 = Stages((2, 2, 2, 2))
RESNET34 = Stages((3, 4, 6, 3))
RESNET50 = Stages((3, 4, 6, 3), expansion=4)
WIDE_RESNET50_2 = Stages((3, 4, 6, 3), expansion=4, base_width=128)


class _Block(nn.Module):
    """ResNet's basic or bottleneck block without BatchNorm, its layers named as torchvision names them."""

    def __init__(self, inplanes: int, planes: int, stride: int, stages: Stages):
        super().__init__()
        outputs = planes * stages.expansion
        if stages.expansion == 1:
            self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1)
            self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1)
            self.conv3 = None
        else:
            width = stages.width(planes)
            self.conv1 = nn.Conv2d(inplanes, width, 1)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1)  # torchvision strides here, not in the first conv
            self.conv3 = nn.Conv2d(width, outputs, 1)
        skips = stride == 1 and inplanes == outputs
        self.downsample = nn.Identity() if skips else nn.Sequential(nn.Conv2d(inplanes, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(torch.relu(self.conv1(x)))
        if self.conv3 is not None:
            inner = self.conv3(torch.relu(inner))
        return torch.relu(inner + self.downsample(x))


def _layer(inplanes: int, planes: int, count: int, stride: int, stages: Stages) -> nn.Sequential:
    rest = (_Block(planes * stages.expansion, planes, 1, stages) for _ in range(count - 1))
    return nn.Sequential(_Block(inplanes, planes, stride, stages), *rest)


class ResNetLevels(nn.Module):
    """A ResNet's conv1 and layer1..3, BatchNorm folded: images N x 3 x H x W -> levels at strides 4, 8, 16.

    There is no layer4: reverse distillation never uses it.
    """

    def __init__(self, stages: Stages):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        wide = stages.expansion
        self.layer1 = _layer(64, 64, stages.blocks[0], 1, stages)
        self.layer2 = _layer(64 * wide, 128, stages.blocks[1], 2, stages)
        self.layer3 = _layer(128 * wide, 256, stages.blocks[2], 2, stages)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.layer1(self.maxpool(torch.relu(self.conv1(x))))
        second = self.layer2(first)
        return first, second, self.layer3(second)


def load_resnet(stages: Stages, state: State) -> ResNetLevels:
    """A ResNet's levels from torchvision's layout, or from the same names with BatchNorm already folded into biases.

    Raises:
        KeyError, RuntimeError: the weights are another network's.
    """
    encoder = ResNetLevels(stages)
    convs = {key.rpartition(".")[0] for key in encoder.state_dict()}
    if others := [key for key in state if key.startswith(USED) and _conv(key) not in convs]:
        raise KeyError(f"{others[0]} is of a deeper network")
    encoder.load_state_dict({key: _folded(state, key) for key in encoder.state_dict()})
    return encoder


def _conv(key: str) -> str:
    """The conv that a tensor belongs to: torchvision keeps bnN beside convN, and downsample.1 beside downsample.0."""
    return key.rpartition(".")[0].replace("bn", "conv").replace("downsample.1", "downsample.0")


def _folded(state: State, key: str) -> Tensor:
    conv, _, kind = key.rpartition(".")
    if f"{conv}.bias" in state:
        return state[key]
    norm = conv[:-1] + "1" if conv.endswith("downsample.0") else conv.replace("conv", "bn")
    mean, variance, gamma, beta = (
        state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )  # fmt: skip
    weight, bias = fuse_conv_bn_weights(state[f"{conv}.weight"], None, mean, variance, 1e-5, gamma, beta)
    return (weight if kind == "weight" else bias).detach()
