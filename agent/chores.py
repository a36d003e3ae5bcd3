"""Chores: what an installation does now and then beside its frames, one agent at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from agent.store import leases
from agent.store.engine import writing
from agent.store.errors import StoreError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Chore:
    """One of them.

    Attributes:
        name: also of its lease.
        every_s: seconds from one start to the next, in the whole installation.
        do: does it, in short transactions of its own; it may be cut off anywhere, and two may run at once after a
            pause of the process. Gets the time. Raises StoreError where something is away: it is tried again.
    """

    name: str
    every_s: float
    do: Callable[[datetime], None]


class Chores:
    """Does them on one thread. A chore that fails is logged and tried again at its next turn; the line runs on."""

    def __init__(
        self,
        engine: Engine,
        chores: Sequence[Chore],
        *,
        holder: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._chores, self._holder, self._clock = engine, tuple(chores), holder, clock
        self._monotonic = monotonic
        self._due = {chore.name: monotonic() for chore in self._chores}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Starts no further chore, and waits a little for the one at hand."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def do_due(self) -> None:
        """Does every chore whose turn it is; what the thread does once a second."""
        for chore in self._chores:
            if self._ended.is_set() or self._monotonic() < self._due[chore.name]:
                continue
            self._due[chore.name] = self._monotonic() + chore.every_s
            try:
                self._do(chore)
            except StoreError as error:
                log.warning("chore_waits", chore=chore.name, problem=str(error)[:300])
            except Exception as error:  # whatever is wrong with a chore, frames are inspected
                log.error("chore_failed", chore=chore.name, error=repr(error)[:300], exc_info=error)

    def _do(self, chore: Chore) -> None:
        now = self._clock()
        # The lease is not given back: until it expires, the chore was just done.
        with writing(self._engine) as conn:
            mine = leases.acquire(
                conn, f"chore.{chore.name}", self._holder, timedelta(seconds=chore.every_s * 0.9), now
            )
        if mine:
            chore.do(now)

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            self.do_due()
