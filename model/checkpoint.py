"""A training run's state on disk, from which it goes on after a crash to the same weights."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from model.errors import TrainingError

PAUSE = 20  # times as long as keeping took must pass before the next: 5 % of a run at most


class Checkpoint:
    """One file with the newest good state of one run.

    Args:
        path: of the file.
        identity: what a state must agree on to be gone on from; plain values.
        clock: seconds.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], clock: Callable[[], float] = monotonic):
        self._path, self._identity, self._clock = path, dict(identity), clock
        self._next = -float("inf")
        self._step: int | None = None

    def offer(self, step: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps the state of a step, whole or not at all, unless the last one was kept too short a while ago."""
        began = self._clock()
        if began < self._next:
            return
        part = self._part
        with part.open("wb") as file:
            torch.save({**state(), "step": step, "identity": self._identity}, file)
            file.flush()
            os.fsync(file.fileno())  # the name must not outlive the bytes when the power goes
        part.replace(self._path)
        self._step = step
        ended = self._clock()
        self._next = ended + PAUSE * (ended - began)

    def load(self, device: torch.device) -> Mapping[str, Any] | None:
        """The state that is there; None where there is no file.

        Raises:
            TrainingError: it is damaged, or of another run.
        """
        if not self._path.exists():
            return None
        try:
            state: Mapping[str, Any] = torch.load(self._path, map_location=device, weights_only=True)
            theirs = state["identity"]
        except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
            raise TrainingError(f"{self._path}: is no checkpoint, or damaged; remove it to start anew") from None
        other = sorted(name for name, value in self._identity.items() if theirs.get(name) != value)
        if other:
            raise TrainingError(f"{self._path}: is of a run with other {', '.join(other)}; remove it to start anew")
        self._step = state["step"]
        return state

    def remove(self) -> None:
        """The run is over."""
        self._path.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def __str__(self) -> str:
        """What is kept, as an error message says it."""
        return f"{self._path} keeps nothing yet" if self._step is None else f"{self._path} keeps step {self._step}"

    @property
    def _part(self) -> Path:
        return self._path.with_name(f".{self._path.name}.part")
