"""The optimiser's loop: Adam over cached features, looks at validation normals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.anomaly_map import distances
from model.checkpoint import Checkpoint
from model.distillation import Learner, Levels, loss
from model.distributed import Group
from model.errors import TOO_LITTLE, Diverged, TrainingError
from model.features import Features
from model.norms import batch_statistics, running_statistics
from model.progress import Report

BETAS = (0.5, 0.999)
LOOK_EVERY = 25  # steps between two looks at validation normals
LOOKED_AT = 16  # of their tiles
READ_EVERY = 10  # steps between two reads of the loss on a GPU, which waits for all that is queued


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a learner is fitted.

    Attributes:
        batch_size: tiles per step, over all processes.
        learning_rate: Adam's.
        seed: of the batch order.
        mixed: compute in bfloat16 where autocast does so.
    """

    batch_size: int
    learning_rate: float
    seed: int
    mixed: bool


class Fit:
    """One learner being fitted.

    Args:
        learner: on its device, with its starting weights.
        untrained: one with fresh weights; how far validation normals are from it is what knowing nothing gives.
        features: of all frames.
        fitted, validation: frames to fit, and to look at.
        settings: see there.
        group: the processes that fit together.
        checkpoint: where the newest good state is kept; None for nowhere.

    Attributes:
        learner: see there; after a run, with the weights of its last step.
        rates: (first step, learning rate) of each stretch of the run, the present one last.

    Raises:
        TrainingError: the teacher's features are not finite, or nothing of them is inspected.
    """

    def __init__(
        self,
        learner: Learner,
        untrained: Learner,
        features: Features,
        fitted: Sequence[int],
        validation: Sequence[int],
        *,
        settings: FitSettings,
        group: Group,
        checkpoint: Checkpoint | None,
    ):
        self.learner, self._features, self._settings, self._group = learner, features, settings, group
        self._tiles = features.inspected_tiles(fitted)
        self._looked_at = features.inspected_tiles(validation)[:LOOKED_AT]
        if not (self._tiles and self._looked_at):
            raise TrainingError(TOO_LITTLE)
        self._batches = Batches(self._tiles, settings.batch_size, settings.seed, group.size)
        self._adam = torch.optim.Adam(learner.parameters(), lr=settings.learning_rate, betas=BETAS, fused=True)
        self._checkpoint = checkpoint
        self._read_every = 1 if next(learner.parameters()).device.type == "cpu" else READ_EVERY
        self.rates: list[tuple[int, float]] = []
        self._chance = self._best = float(self.distance(untrained))
        if not math.isfinite(self._chance):
            raise TrainingError("the teacher's features are not finite; try precision 'fp32', or other weights")

    def run(self, steps: int, report: Report) -> None:
        """Runs to `steps`, from the checkpoint where there is one.

        Raises:
            Diverged: the loss is not finite, or validation normals are farther off than half way from the nearest look
                back to an untrained student: noise and overfitting of healthy runs stay far below that, and what lost
                half of all it had learnt will not find back at this rate. The checkpoint keeps the last good state; a
                run with a lower learning rate may go on from it.
            TrainingError: the checkpoint is damaged or of another run.
        """
        done = self._resume()
        report.resume(done)
        for _ in range(done):
            next(self._batches)  # the order goes on where the checkpoint left it
        self.learner.train()
        read: float | None = None
        for step in range(done + 1, steps + 1):
            value = self.step(self._group.share(next(self._batches)))
            looks = step % LOOK_EVERY == 0 or step == steps
            if looks or step % self._read_every == 0:
                self._group.average([value])
                read = float(value)
                self._demand(math.isfinite(read), step, f"the loss is {read}")
            if looks:
                self._look(step)
            report(step, read)
            if looks and self._checkpoint and self._group.rank == 0:
                self._checkpoint.offer(step, self._state)  # after the report: what is gone on from has been heard of

    def step(self, tiles: Sequence[int]) -> Tensor:
        """One step of the optimiser, on some tiles; the loss before it, a scalar on the device."""
        value = self.loss(tiles)
        self._adam.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        self._group.average([parameter.grad for parameter in self.learner.parameters() if parameter.grad is not None])
        self._adam.step()
        return value.detach()

    def loss(self, tiles: Sequence[int]) -> Tensor:
        """The loss of some tiles; what is not inspected leaves both sides of the cosine."""
        wanted = self._features.batch(tiles)
        found = self.forward(self.learner, wanted)
        return loss(wanted, found, self._features.level_masks(tiles))

    def forward(self, learner: Learner, levels: Levels) -> Levels:
        """The learner's levels, in bfloat16 where the run is mixed."""
        with torch.autocast(levels[0].device.type, torch.bfloat16, enabled=self._settings.mixed):
            result: Levels = learner(levels)
        return result

    @torch.no_grad()
    def distance(self, learner: Learner) -> Tensor:
        """Mean distance of validation normals from a learner, whose BatchNorm sees them as a batch: 0 .. 2."""
        levels, masks = self._features.batch(self._looked_at), self._features.level_masks(self._looked_at)
        with batch_statistics(learner):
            found = distances(levels, self.forward(learner, levels))
        if masks is None:
            return torch.stack([scale.mean() for scale in found]).mean()
        inside = [mask[:, 0] for mask in masks]
        sums = [(scale * mask).sum() / mask.sum().clamp_min(1) for scale, mask in zip(found, inside, strict=True)]
        return torch.stack(sums).mean()

    def _look(self, step: int) -> None:
        self._group.average(running_statistics(self.learner))
        value = self.distance(self.learner)
        self._group.average([value])
        found = float(value)
        reason = (
            f"validation images are {found:.3f} from the student, were {self._best:.3f} at best, and are "
            f"{self._chance:.3f} from an untrained one"
        )
        self._demand(found < (self._best + self._chance) / 2, step, reason)
        self._best = min(self._best, found)

    def _demand(self, good: bool, step: int, reason: str) -> None:
        if not good:
            kept = f"{self._checkpoint}, to go on from" if self._checkpoint else "no checkpoint was asked for"
            raise Diverged(f"training diverged at step {step}: {reason}; lower training.learning_rate ({kept})")

    def _state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(), "adam": self._adam.state_dict(), "rates": self.rates,
            "best": self._best,
        }  # fmt: skip

    def _resume(self) -> int:
        device = next(self.learner.parameters()).device
        state = self._checkpoint.load(device) if self._checkpoint else None
        if state:
            self.learner.load_state_dict(state["learner"])
            self._adam.load_state_dict(state["adam"])
            self.rates = list(state["rates"])
            self._best = state["best"]
        done = int(state["step"]) if state else 0
        rate = self._settings.learning_rate
        for group in self._adam.param_groups:
            group["lr"] = rate
        if not self.rates or self.rates[-1][1] != rate:
            self.rates.append((done + 1, rate))
        return done


class Batches:
    """Endless batches: permutations of the tiles one after another, cut into equal pieces.

    Args:
        tiles: their numbers.
        size: of a batch; where there are fewer tiles, as many as there are.
        seed: of the permutations.
        parts: equal parts that a batch can be cut into.

    Raises:
        TrainingError: it cannot.
    """

    def __init__(self, tiles: Sequence[int], size: int, seed: int, parts: int = 1):
        self._tiles = np.asarray(tiles)
        self.size = min(size, len(tiles)) // parts * parts
        if size % parts:
            raise TrainingError(f"a batch of {size} tiles for {parts} processes; a multiple of {parts} is needed")
        if not self.size:
            raise TrainingError(f"{len(tiles)} tiles to fit for {parts} processes; use fewer processes")
        self._rng = np.random.default_rng((seed, 1))
        self._left: list[int] = []

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Sequence[int]:
        while len(self._left) < self.size:
            self._left += self._rng.permutation(self._tiles).tolist()
        batch, self._left = self._left[: self.size], self._left[self.size :]
        return batch
