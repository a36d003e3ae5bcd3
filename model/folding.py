"""A learner made quicker for scoring: BatchNorm folded into convolutions, transposed convolutions made plain ones."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold(module: nn.Module) -> None:
    """Folds each BatchNorm of a Sequential into the conv before it; the module must be in evaluation mode.

    A transposed conv whose stride is its kernel writes no pixel twice: it is a 1 x 1 conv and a pixel shuffle (Shi et
    al., CVPR 2016), which engines run several times faster.
    """
    for child in module.children():
        fold(child)
    if not isinstance(module, nn.Sequential):
        return
    for at in range(len(module) - 1):
        conv, norm = module[at], module[at + 1]
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            transposed = isinstance(conv, nn.ConvTranspose2d)
            fused = fuse_conv_bn_eval(cast(nn.Conv2d, conv), norm, transpose=transposed)
            module[at] = _plain(cast(nn.ConvTranspose2d, fused)) if transposed else fused
            module[at + 1] = nn.Identity()


def _plain(conv: nn.ConvTranspose2d) -> nn.Module:
    """The same as a 2 x 2 one of stride 2, the only kind that a student has."""
    plain = nn.Conv2d(conv.in_channels, 4 * conv.out_channels, 1)
    plain.weight = nn.Parameter(conv.weight.permute(1, 2, 3, 0).reshape(plain.weight.shape))
    plain.bias = nn.Parameter(cast(Tensor, conv.bias).repeat_interleave(4))
    return nn.Sequential(plain, nn.PixelShuffle(2)).eval()
