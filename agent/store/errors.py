"""What can go wrong in the store, as types; every message says what to do."""

from __future__ import annotations

from agent.phrases import Worded


class StoreError(Worded):
    """Base of all of them."""


class Unreachable(StoreError):
    """The database does not answer, or is locked by someone for too long. Trying again later may help."""


class DatabaseBehind(StoreError):
    """The database's schema is not the one this program was written for."""


class NotFound(StoreError):
    """There is no row of that id or name."""


class Conflict(StoreError):
    """The row is not in the state that this change needs."""


class Raced(StoreError):
    """Another transaction wrote there in between: do it again from the start, and what it wrote will be seen."""


class Fenced(StoreError):
    """Someone else has claimed the partition or the lease: drop the work."""


class Outdated(Fenced):
    """The partition is still the holder's, the claim is not valid any more: drop the work and claim again at once.

    A changeover makes it so, and a commit whose answer was lost.
    """
