"""Averaged weights: an exponential moving average over the steps, with BatchNorm statistics estimated anew."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from model.distillation import Learner, Levels

DECAY = 0.98  # an average over about 50 steps


class Average:
    """Keeps the moving average of a learner's parameters (Polyak & Juditsky 1992)."""

    def __init__(self, learner: Learner):
        self._module = copy.deepcopy(learner).requires_grad_(False)

    @torch.no_grad()
    def update(self, learner: Learner, step: int) -> None:
        """Takes in the parameters after `step` (from 1); early steps weigh less, so that the start is forgotten."""
        decay = min(DECAY, step / (10 + step))
        averaged: list[Tensor] = list(self._module.parameters())
        present: list[Tensor] = list(learner.parameters())
        torch._foreach_lerp_(averaged, present, 1 - decay)

    def module(self) -> Learner:
        """The averaged learner; its BatchNorm statistics are those of the start until they are estimated anew."""
        return self._module

    def state(self) -> Mapping[str, Tensor]:
        """For a checkpoint."""
        return self._module.state_dict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """From a checkpoint."""
        self._module.load_state_dict(dict(state))


@torch.no_grad()
def reestimate_norms(learner: Learner, batches: Iterable[Levels], forward: Callable[[Learner, Levels], Levels]) -> None:
    """Sets every BatchNorm's statistics to their mean over the batches (Izmailov et al. 2018, section 3)."""
    norms = _norms(learner)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    learner.train()
    for levels in batches:
        forward(learner, levels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    learner.eval()


@contextmanager
def batch_statistics(learner: Learner) -> Iterator[None]:
    """Inside, every BatchNorm normalises by its batch, and leaves its running statistics as they are."""
    norms, training = _norms(learner), learner.training
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


def _norms(learner: Learner) -> list[nn.BatchNorm2d]:
    return [module for module in learner.modules() if isinstance(module, nn.BatchNorm2d)]
