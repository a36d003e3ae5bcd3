"""A training run's state on disk, from which it goes on after a crash to the same weights."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from model.errors import CheckpointUnusable, TrainingError

DIGEST = sha256().digest_size  # bytes at a file's end: the SHA-256 of all before them
PAUSE = 20  # times as long as keeping took must pass before the next: 5 % of a run at most


@dataclass(frozen=True, slots=True)
class Keep:
    """Where, how often and how long the newest good state of a run is kept.

    Attributes:
        path: of the file.
        every_s: seconds between two states, at least; keeping takes a twentieth of a run at most, whatever this says.
        after: the file stays when training is over, because what follows may fail too; who asked for it removes it.
    """

    path: Path
    every_s: float = 0.0
    after: bool = False


class Checkpoint:
    """One file with the newest good state of one run.

    Args:
        keep: see there.
        identity: what a state must agree on to be gone on from; plain values.
        clock: seconds.
    """

    def __init__(self, keep: Keep, identity: Mapping[str, Any], clock: Callable[[], float] = monotonic):
        self._keep, self._path, self._identity, self._clock = keep, keep.path, dict(identity), clock
        self._next = -float("inf")
        self._step: int | None = None

    def offer(self, step: int, state: Callable[[], Mapping[str, Any]]) -> None:
        """Keeps the state of a step, whole or not at all, unless the last one was kept too short a while ago.

        Raises:
            TrainingError: it cannot be written.
        """
        began = self._clock()
        if began < self._next:
            return
        content = io.BytesIO()
        torch.save({**state(), "step": step, "identity": self._identity}, content)
        try:
            with self._part.open("wb") as file:
                file.write(content.getbuffer())
                file.write(sha256(content.getbuffer()).digest())
                file.flush()
                os.fsync(file.fileno())  # the name must not outlive the bytes when the power goes
            self._part.replace(self._path)
        except OSError as error:
            raise TrainingError(f"{self._path}: cannot be written ({error.strerror}); make room for it") from None
        self._step = step
        ended = self._clock()
        self._next = ended + max(self._keep.every_s, PAUSE * (ended - began))

    def load(self, device: torch.device) -> Mapping[str, Any] | None:
        """The state that is there; None where there is no file.

        Raises:
            CheckpointUnusable: it is damaged, or of another run.
        """
        if not self._path.exists():
            return None
        try:
            data = self._path.read_bytes()
        except OSError as error:
            raise CheckpointUnusable(f"{self._path}: cannot be read ({error.strerror})") from None
        content = memoryview(data)[:-DIGEST]
        if sha256(content).digest() != data[-DIGEST:]:
            raise CheckpointUnusable(
                f"{self._path}: is no checkpoint of this version, or damaged; remove it to start anew"
            )
        state: Mapping[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        theirs = state["identity"]
        other = sorted(name for name, value in self._identity.items() if theirs.get(name) != value)
        if other:
            names = ", ".join(other)
            raise CheckpointUnusable(f"{self._path}: is of a run with other {names}; remove it to start anew")
        self._step = state["step"]
        return state

    def over(self) -> None:
        """Training is over: the file goes, unless it was asked to stay."""
        if not self._keep.after:
            remove(self._path)

    def __str__(self) -> str:
        """What is kept, as an error message says it."""
        return f"{self._path} keeps nothing yet" if self._step is None else f"{self._path} keeps step {self._step}"

    @property
    def _part(self) -> Path:
        return _part_of(self._path)


def check(path: Path) -> None:
    """Whether a checkpoint can be kept there: better said before hours of work than after them.

    Raises:
        CheckpointUnusable: it cannot.
    """
    try:
        if path.is_dir():
            raise CheckpointUnusable(f"{path}: is a folder; give the name of a file for the checkpoint")
        if not path.resolve().parent.is_dir():
            raise CheckpointUnusable(f"{path}: its folder does not exist; create {path.resolve().parent} first")
        with _part_of(path).open("ab"):
            pass
        _part_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointUnusable(f"{path}: cannot be written ({error.strerror})") from None


def remove(path: Path) -> None:
    """Removes a checkpoint, and what a crash left of one that was being written."""
    path.unlink(missing_ok=True)
    _part_of(path).unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
