"""What training refuses, and how it fails."""

from __future__ import annotations

TOO_LITTLE = (
    "the ignore mask or the letterbox leaves no place of 8 x 8 pixels of the model's input to inspect; "
    "make the mask smaller, or the input larger"
)


class TrainingError(Exception):
    """Training cannot start or has failed; the message says why and what to do."""


class CheckpointUnusable(TrainingError):
    """A checkpoint that is damaged, of another run or cannot be kept; without it the run starts anew."""


class Diverged(TrainingError):
    """A loss is not a number, or validation normals went half the way back to an untrained student."""
