"""BatchNorm folded into convolutions, for scoring."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(module: nn.Module) -> None:
    """Folds each BatchNorm of a Sequential into the conv before it; the module must be in evaluation mode."""
    for child in module.children():
        fold_norms(child)
    if not isinstance(module, nn.Sequential):
        return
    for at in range(len(module) - 1):
        conv, norm = module[at], module[at + 1]
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            transposed = isinstance(conv, nn.ConvTranspose2d)
            module[at] = fuse_conv_bn_eval(cast(nn.Conv2d, conv), norm, transpose=transposed)
            module[at + 1] = nn.Identity()
