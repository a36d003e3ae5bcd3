"""BatchNorm while a learner is looked at, and what processes that fit together have to agree on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from model.distillation import Learner


@contextmanager
def batch_statistics(learner: Learner) -> Iterator[None]:
    """Inside, every BatchNorm normalises by its batch, and leaves its running statistics as they are."""
    norms = [module for module in learner.modules() if isinstance(module, nn.BatchNorm2d)]
    training = learner.training
    learner.train()
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
        learner.train(training)


def running_statistics(learner: Learner) -> list[Tensor]:
    """The running means and variances of every BatchNorm."""
    return [buffer for buffer in learner.buffers() if buffer.is_floating_point()]
