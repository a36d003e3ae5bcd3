"""The frozen teacher: a pretrained encoder cut after stride 16, and the teachers that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

from model.encoders import RESNET18, RESNET34, RESNET50, WIDE_RESNET50_2, Stages, State, load_resnet
from model.precision import rounded
from model.weights import Fetch, TeacherError, download, find_weights, not_finite

__all__ = ["KINDS", "Kind", "Teacher", "TeacherError", "kind_of", "load_teacher"]

TIMM = "timm:"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((127 / 255,) * 3, (128 / 255,) * 3)  # (x - 127) / 128 on 0 .. 255


@dataclass(frozen=True, slots=True)
class Kind:
    """What a teacher is, and what learns from it.

    Attributes:
        channels: of its levels at strides 4, 8, 16.
        mean: of its input on 0 .. 1, red green blue.
        deviation: likewise.
        stages: the residual stages of embedding and student; the teacher's own where it is a ResNet.
        thin: its levels are too thin to mirror; see `model.bottleneck`.
        steps: default training budget.
    """

    channels: tuple[int, int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    stages: Stages = RESNET18
    thin: bool = False
    steps: int = 50


KINDS: Mapping[str, Kind] = {
    "efficientnet_lite0": Kind((24, 40, 112), *HALF, thin=True),
    "efficientnet_lite1": Kind((24, 40, 112), *HALF, thin=True),
    "efficientnet_lite2": Kind((24, 48, 120), *HALF, thin=True),
    "resnet18": Kind((64, 128, 256), *IMAGENET),
    "resnet34": Kind((64, 128, 256), *IMAGENET, RESNET34),
    "resnet50": Kind((256, 512, 1024), *IMAGENET, RESNET50),
    "wide_resnet50_2": Kind((256, 512, 1024), *IMAGENET, WIDE_RESNET50_2),
}


@lru_cache
def kind_of(name: str) -> Kind:
    """The kind of a teacher: key of `KINDS`, or `timm:NAME` for any of timm's encoders with strides 4, 8, 16.

    Raises:
        TeacherError: there is no such teacher, or it has no levels at those strides.
    """
    if name in KINDS:
        return KINDS[name]
    if not name.startswith(TIMM):
        raise TeacherError(f"there is no teacher {name!r}; there are {', '.join(KINDS)} and {TIMM}NAME")
    from model import timm_encoders  # timm is slow to import

    try:
        found = timm_encoders.describe(name.removeprefix(TIMM))
    except timm_encoders.EncoderError as error:
        raise TeacherError(f"{name} cannot be a teacher: {error}") from None
    return Kind(found.channels, found.mean, found.deviation, thin=True)


class Teacher(nn.Module):
    """Three feature maps of an image, at strides 4, 8 and 16. Frozen: no gradient ever reaches it.

    Attributes:
        name: as `kind_of` takes it.
        sha256: of the weights file.
        published: whether that is the published file, by its hash.
        kind: what it is.
        encoder: standardised images -> levels.
    """

    def __init__(self, name: str, encoder: nn.Module, sha256: str, *, published: bool = False):
        super().__init__()
        self.published = published
        self.name, self.sha256, self.kind = name, sha256, kind_of(name)
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


def load_teacher(name: str, weights: str = "", *, exact: bool = False, fetch: Fetch = download) -> Teacher:
    """Builds a teacher from its weights, BatchNorm folded and rounded to what bfloat16 holds.

    So every engine and precision has the same teacher. It is frozen, and its student learns what it gives; but where
    float32 had other weights than bfloat16, scores differed by more than half of what normals differ by.

    Args:
        name: as `kind_of` takes it.
        weights: file with the weights: .safetensors, or a state dict as .pth. For a ResNet in torchvision's layout,
            with BatchNorm or with it folded into conv biases; for `timm:NAME` in timm's. "" for the published ones,
            from their package or from torchvision's cache; what is missing there is downloaded into it.
        exact: not rounded, as artifacts before format 3 were trained with.
        fetch: downloads.

    Raises:
        TeacherError: unknown name, missing, damaged or unreadable file, or weights of another network or not finite.
    """
    kind = kind_of(name)
    found = find_weights(name, weights, fetch=fetch)
    try:
        encoder = _encoder(name, kind, found.state)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TeacherError(f"{found.path}: does not hold the weights of {name} ({reason})") from None
    if broken := not_finite(encoder.state_dict()):
        raise TeacherError(
            f"{found.path}: {name} would compute with numbers that are not finite ({broken}); get it again"
        )
    return Teacher(name, encoder if exact else rounded(encoder), found.sha256, published=found.published)


def _encoder(name: str, kind: Kind, state: State) -> nn.Module:
    if not kind.thin:
        return load_resnet(kind.stages, state)
    from model import timm_encoders

    if name.startswith(TIMM):
        return timm_encoders.load_levels(name.removeprefix(TIMM), state)
    # The packages' weights are TensorFlow's, and name their layers in their own way.
    return timm_encoders.load_levels(f"tf_{name}", state, by_order=True)
