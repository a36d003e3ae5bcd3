"""timm's networks as encoders: cut after stride 16, BatchNorm folded into the convs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.encoders import State

STRIDES = (4, 8, 16)
PROBE = 64  # side of the images that try an encoder out


class EncoderError(Exception):
    """A network that cannot serve as an encoder here; the message says why."""


@dataclass(frozen=True, slots=True)
class Description:
    """What timm says of an encoder: channels of its levels, mean and deviation of its input on 0 .. 1."""

    channels: tuple[int, int, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def describe(name: str) -> Description:
    """Tries a network of timm's without weights.

    Raises:
        EncoderError: timm has no such network, or it has no levels at strides 4, 8, 16.
    """
    with torch.device("meta"):
        encoder = _cut(name)
    channels = tuple(encoder.feature_info.channels())
    wanted = [(1, count, PROBE // stride, PROBE // stride) for count, stride in zip(channels, STRIDES, strict=True)]
    try:
        found = [tuple(level.shape) for level in encoder.eval()(torch.zeros(1, 3, PROBE, PROBE, device="meta"))]
    except Exception as error:  # each network has its own way of refusing an image size
        raise EncoderError(f"it takes no images of {PROBE} x {PROBE} pixels ({_first_line(error)})") from None
    if found != wanted:
        raise EncoderError(
            f"its levels of a {PROBE} x {PROBE} image are {found}, not N x C x H x W at strides 4, 8, 16"
        )
    config = timm.models.get_pretrained_cfg(name)
    if config is None:
        raise EncoderError("timm does not know the mean and deviation of its input")
    return Description(cast(tuple[int, int, int], channels), tuple(config.mean), tuple(config.std))


def load_levels(name: str, state: State, *, by_order: bool = False) -> nn.Module:
    """A network of timm's cut after stride 16, with its weights, folded.

    Args:
        name: as timm knows it.
        state: of the whole network.
        by_order: pair tensors by their order, for files that name their layers otherwise; else by timm's names.

    Raises:
        EncoderError: see `describe`.
        KeyError, RuntimeError: the weights are another network's.
    """
    encoder = _cut(name).eval()
    wanted = [key for key in encoder.state_dict() if not key.endswith("num_batches_tracked")]
    if by_order:
        given = [tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")]
        if len(given) < len(wanted):
            raise KeyError(f"{len(given)} tensors instead of {len(wanted)}")
        # the file goes on with the stages after stride 16
        paired = dict(zip(wanted, given, strict=False))
    else:
        # features_only renames stages.0 to stages_0, and puts some networks under model.
        flat = {key.replace(".", "_"): tensor for key, tensor in state.items()}
        paired = {key: flat[key.replace(".", "_").removeprefix("model_")] for key in wanted}
    encoder.load_state_dict(paired, strict=False)
    return fold_norms(encoder)


def _cut(name: str) -> Any:
    if not timm.is_model(name):
        raise EncoderError("timm has no network of this name; timm.list_models() names them")
    try:
        whole: Any = timm.create_model(name, pretrained=False, features_only=True)
        info = whole.feature_info
        strides = info.reduction()
        if not set(STRIDES) <= set(strides):
            raise EncoderError(f"its levels are at strides {strides}; 4, 8 and 16 are needed")
        indices = [info.out_indices[strides.index(stride)] for stride in STRIDES]
        encoder: Any = timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)
    except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, NotImplementedError) as error:
        raise EncoderError(f"timm gives no levels of it ({_first_line(error)})") from None
    parent, _, last = encoder.feature_info.module_name()[-1].partition(".")
    blocks = getattr(encoder, parent, None)
    if last.isdecimal() and isinstance(blocks, nn.Sequential):
        setattr(encoder, parent, blocks[: int(last) + 1])  # what comes after stride 16 is never used
    return encoder


def fold_norms(encoder: nn.Module) -> nn.Module:
    """Folds each BatchNorm into the conv that feeds it, where that leaves the levels as they are.

    Which conv feeds which BatchNorm is seen by running the encoder once. An encoder that also uses a conv's output
    elsewhere, or standardises its weights, would change by it, and comes back as it was.
    """
    image = torch.randn(1, 3, PROBE, PROBE, generator=torch.Generator().manual_seed(0))
    folded = deepcopy(encoder)
    with torch.no_grad():
        wanted = encoder(image)
        for conv, norm in _pairs(folded, image):
            assert norm.running_mean is not None and norm.running_var is not None
            conv.weight, bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )  # fmt: skip
            conv.bias = bias
            _replace(folded, norm, getattr(norm, "act", nn.Identity()))  # timm's BatchNorm brings its activation
        found = folded(image)
    close = all(
        bool((one - other).abs().max() <= 1e-3 * other.abs().max()) for one, other in zip(found, wanted, strict=True)
    )
    return folded if close else encoder


def _pairs(encoder: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    made: list[tuple[nn.Conv2d, Tensor]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def conv_ran(conv: nn.Module, given: Any, result: Tensor) -> None:
        made.append((cast(nn.Conv2d, conv), result))

    def norm_runs(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        pairs.extend((conv, cast(nn.BatchNorm2d, norm)) for conv, result in made if result is given[0])

    hooks = []
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(conv_ran))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(norm_runs))
    encoder(image)
    for hook in hooks:
        hook.remove()
    return pairs


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in root.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
