"""What can go wrong here; every message is one line that says what to do."""

from __future__ import annotations

from agent.phrases import Phrase, Worded
from agent.store.errors import StoreError


class RetrainError(Worded):
    """A training run or an import that cannot be done as asked."""


class ImportRefused(RetrainError):
    """A folder that cannot be imported; nothing of it was written."""


class TooFewImages(RetrainError):
    """Not even a certificate with a rate below one half could exist; the message says how many images are needed."""


class CannotWrite(RetrainError):
    """A model file cannot be written where it shall be."""


class NotMeasured(RetrainError):
    """A model was trained and written, but its figures could not be had."""


class Busy(RetrainError):
    """Another training run holds the lease."""


class Cancelled(RetrainError):
    """A person ended the run."""


class Interrupted(RetrainError):
    """This process must let go of the run, which another takes up again.

    Args:
        words: why.
        crashed: something died, and perhaps of this run; False for an end in good order.
    """

    def __init__(self, words: str, *, crashed: bool = False):
        super().__init__(words)
        self.crashed = crashed


def reason(error: BaseException) -> str:
    """Why something failed, for people: what an error of ours or of the model says, and of any other its kind, too."""
    if isinstance(error, RetrainError | StoreError):
        return error.phrase
    if isinstance(error, KeyboardInterrupt):
        return Phrase("interrupted")
    return str(error) if type(error).__module__.startswith("model.") else f"{type(error).__name__}: {error}"
