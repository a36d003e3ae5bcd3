"""Outages of a dependency: try again with backoff and jitter, keep what is in flight."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from agent.health import Health
from agent.metrics import Metrics
from agent.sources.base import SourceUnreachableError
from agent.store.blobs import BlobStore
from agent.store.errors import Conflict, Unreachable

log = structlog.get_logger()
T = TypeVar("T")
FIRST_S = 0.1
LONGEST_S = 5.0


class BlobsUnreachableError(Exception):
    """The blob store does not answer."""


class PatientBlobs:
    """A blob store whose outages are told from the database's, which have the same type."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store

    def put(self, data: bytes, media_type: str) -> str:
        with _blamed_on_blobs():
            return self._store.put(data, media_type)

    def get(self, sha256: str) -> bytes:
        with _blamed_on_blobs():
            return self._store.get(sha256)

    def size(self, sha256: str) -> int | None:
        with _blamed_on_blobs():
            return self._store.size(sha256)

    def delete(self, sha256: str) -> None:
        with _blamed_on_blobs():
            self._store.delete(sha256)

    @property
    def location(self) -> str:
        return self._store.location

    def read(self, key: str, most: int) -> bytes:
        with _blamed_on_blobs():
            return self._store.read(key, most)


@contextmanager
def _blamed_on_blobs() -> Iterator[None]:
    try:
        yield
    except (Unreachable, OSError) as error:
        raise BlobsUnreachableError(str(error)) from error


class AbandonedError(Exception):
    """The agent stops at once: the work in hand is left undone and is read again at the next start."""


class Patience:
    """Calls dependencies. Thread-safe.

    Args:
        health: learns of outages.
        metrics: counts retries.
        abandon: ends all waiting.
        rng: the jitter.
    """

    def __init__(self, health: Health, metrics: Metrics, abandon: threading.Event, rng: random.Random) -> None:
        self.abandon = abandon
        self._health = health
        self._metrics = metrics
        self._rng = rng

    def call(self, operation: Callable[[], T], *names: str) -> T:
        """Returns what `operation` returns, however often it must be tried.

        Args:
            operation: safe to repeat.
            names: the dependencies it uses; they are up once it returns.

        Raises:
            AbandonedError: the agent stops at once.
        """
        delay = FIRST_S
        while True:
            try:
                result = operation()
            except Exception as error:
                name = blamed(error)
                if name is None:
                    raise
                self._tell(name, f"{type(error).__name__}: {_line(error)}")
                self._metrics.retries.labels(name).inc()
                if self.abandon.wait(delay * (0.5 + self._rng.random())):
                    raise AbandonedError(name) from error
                delay = min(delay * 2, LONGEST_S)
                continue
            for name in names:
                self._tell(name, None)
            return result

    def _tell(self, name: str, problem: str | None) -> None:
        self._metrics.dependency_up.labels(name).set(0 if problem else 1)
        if not self._health.dependency(name, problem):
            return
        if problem:
            log.warning("dependency_down", dependency=name, problem=problem)
        else:
            log.info("dependency_back", dependency=name)


class NoPatience(Patience):
    """Calls once: where a person waits for the answer, an outage is an answer, too."""

    def __init__(self) -> None:
        self.abandon = threading.Event()

    def call(self, operation: Callable[[], T], *names: str) -> T:
        """Returns what `operation` returns, or raises what it raises."""
        return operation()


def blamed(error: Exception) -> str | None:
    """Which dependency is out, judging by an exception; None where it is no outage."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | Unreachable):
        return "database"
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return "database"
    if isinstance(error, SourceUnreachableError):
        return "broker"
    if isinstance(error, BlobsUnreachableError | Conflict):  # Conflict: the blob is just being deleted
        return "blobs"
    return None


def _line(error: Exception) -> str:
    # An OperationalError's own text repeats the statement and its parameters.
    return str(getattr(error, "orig", None) or error).splitlines()[0][:300]
