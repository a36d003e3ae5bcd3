"""What training refuses, and how it fails."""

from __future__ import annotations


class TrainingError(Exception):
    """Training cannot start or has failed; the message says why and what to do."""


class CheckpointUnusable(TrainingError):
    """A checkpoint that is damaged, or of another run; without it the run starts anew."""


class Diverged(TrainingError):
    """A loss is not a number, or validation normals are no nearer to the student than to one that learned nothing."""
