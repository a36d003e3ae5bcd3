"""Reverse distillation: teacher -> bottleneck -> student, and the loss (Deng & Li, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.bottleneck import Bottleneck
from model.student import Student
from model.teacher import Teacher, kind_of

Levels = tuple[Tensor, Tensor, Tensor]
TINY = torch.finfo(torch.float32).tiny


class Learner(nn.Module):
    """What is trained: bottleneck and student of one kind of teacher.

    Args:
        teacher: name, as `model.teacher.kind_of` takes it.

    Raises:
        TeacherError: there is no such teacher.
    """

    def __init__(self, teacher: str):
        super().__init__()
        kind = kind_of(teacher)
        self.bottleneck = Bottleneck(kind.channels, kind.stages, thin=kind.thin)
        self.student = Student(kind.channels, kind.stages, thin=kind.thin)

    def forward(self, levels: Levels) -> Levels:
        """The teacher's levels -> the student's, of the same shapes."""
        result: Levels = self.student(self.bottleneck(levels))
        return result

    def reset(self, generator: torch.Generator) -> None:
        """Fresh weights: kaiming normal (fan_out) for convs, the default for transposed convs, as the released code."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=generator)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
                module.reset_running_stats()


class ReverseDistillation(nn.Module):
    """The whole network: images -> the teacher's and the student's levels."""

    def __init__(self, teacher: Teacher, learner: Learner):
        super().__init__()
        self.teacher, self.learner = teacher, learner

    def forward(self, images: Tensor) -> tuple[Levels, Levels]:
        """uint8 or float N x 3 x H x W on 0 .. 255 -> (teacher's levels, student's levels)."""
        levels = self.teacher(images)
        return levels, self.learner(levels)


def loss(teacher: Sequence[Tensor], student: Sequence[Tensor], masks: Sequence[Tensor] | None = None) -> Tensor:
    """Sum over the scales of the batch mean of 1 - cosine of the flattened C*H*W maps; 0 .. 2 for each scale.

    The form of the authors' released code; the per-pixel form of the paper's equation 2 trains worse.

    Args:
        teacher: levels, each N x C x h x w.
        student: likewise.
        masks: for each level, N x 1 x h x w, 1 where it counts. A map of which nothing counts has no direction: it
            leaves its scale's mean, and a scale without any map that counts is 0.
    """
    if masks is None:
        terms = [1 - _cosine(t.float(), s.float()).mean() for t, s in zip(teacher, student, strict=True)]
    else:
        terms = [_masked(t.float(), s.float(), mask) for t, s, mask in zip(teacher, student, masks, strict=True)]
    return torch.stack(terms).sum()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """As `cosine_similarity` of flattened maps, but in the memory format that they have: flattening copies them."""
    # The root of 0 has no gradient, and a map of which nothing counts is 0.
    lengths = [(x * x).sum((1, 2, 3)).clamp_min(TINY).sqrt() for x in (a, b)]
    return (a * b).sum((1, 2, 3)) / (lengths[0] * lengths[1]).clamp_min(1e-8)


def _masked(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    counts = mask.flatten(1).amax(1)
    there = counts.sum()
    mean = (_cosine(a * mask, b * mask) * counts).sum() / there.clamp_min(1)
    return torch.where(there > 0, 1 - mean, 0)
