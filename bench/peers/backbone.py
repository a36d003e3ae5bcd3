"""Our ResNet-18 weights inside timm's network, so that peers see exactly the features that our teacher sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import timm
import torch
from torch import Tensor, nn

from model.teacher import load_teacher

BACKBONE = "resnet18"
TOLERANCE = 1e-4
STRIDES = (4, 8, 16)  # of a teacher's levels


class PeerError(Exception):
    """A peer that cannot be compared; the message says why."""


@contextmanager
def pretrained(weights: Path | None) -> Iterator[None]:
    """Inside the block timm's pretrained networks get these weights (None: random ones); nothing is downloaded.

    Raises:
        PeerError: a network other than ResNet-18 is asked for, or its features are not our teacher's.
    """
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        network: nn.Module = create(name, pretrained=False, **options)
        if pretrained and weights is not None:
            if name != BACKBONE:
                raise PeerError(f"the weights are of {BACKBONE}, not of {name}")
            load(network, weights)
        return network

    with mock.patch.object(timm, "create_model", offline):
        yield


def load(network: nn.Module, weights: Path) -> None:
    """Puts folded weights into a timm ResNet-18 of stages up to layer3, and compares its features with our teacher's.

    The file may have its norms folded into conv biases, so each norm becomes an identity that adds this bias.

    Raises:
        PeerError: a feature differs by more than 1e-4.
        TeacherError: the file cannot be used.
    """
    encoder = load_teacher(BACKBONE, str(weights)).encoder
    state = encoder.state_dict()
    for name, conv in list(network.named_modules()):
        if isinstance(conv, nn.Conv2d):
            conv.weight.data.copy_(state[f"{name}.weight"])
            _only_add(network.get_submodule(norm_of(name)), state[f"{name}.bias"])
    worst = _difference(network, encoder)
    if worst > TOLERANCE:
        raise PeerError(f"timm's features differ from our teacher's by {worst:.2g}, more than {TOLERANCE:g}")


def norm_of(conv: str) -> str:
    """The norm after a conv of a ResNet: bnN after convN, downsample.1 after downsample.0."""
    return conv[:-1] + "1" if conv.endswith("downsample.0") else conv.replace("conv", "bn")


def _only_add(norm: nn.Module, bias: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    norm.weight.data.fill_(1)
    norm.bias.data.copy_(bias)
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)


@torch.no_grad()
def _difference(network: nn.Module, encoder: nn.Module) -> float:
    """The largest difference of any feature on one image of noise."""
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    training = network.training
    found = network.eval()(image)
    network.train(training)
    strides = network.feature_info.reduction()  # type: ignore[operator,union-attr]
    levels = dict(zip(STRIDES, encoder(image), strict=True))
    pairs = zip(found, strides, strict=True)
    return max(float((features - levels[stride]).abs().max()) for features, stride in pairs)
