"""Holding the lease `retrain`: at most one training run among all agents, and none that outlives its lease.

The lease row carries a fencing token that rises with every acquisition. A thread renews it while a run works; a run
whose lease is lost, whose agent is gone, or that is told to stop raises `Interrupted` at its next step. The transaction
that records the verdict checks the token once more, so a run that lost its lease without noticing promotes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.retrain.errors import Interrupted
from agent.store import leases
from agent.store.engine import writing
from agent.store.errors import Fenced, StoreError
from agent.store.leases import Lease

LEASE = "retrain"
TTL = timedelta(seconds=30)
RENEW_S = 5.0
LOOK_S = 0.5  # seconds between two looks at the parent process

log = structlog.get_logger()


def acquire(conn: Connection, now: datetime, name: str = LEASE) -> Lease | None:
    """Takes the lease of training runs, or another one; None while somebody else holds it."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    return leases.acquire(conn, name, holder, TTL, now)


class Holding:
    """Keeps a lease alive until the end of the `with` block, then gives it back.

    Args:
        engine: the database.
        lease: as acquired, perhaps by the process that started this one.
        clock: the time.
        parent: process id of the agent that this run must not outlive; None: there is none.
    """

    def __init__(self, engine: Engine, lease: Lease, clock: Callable[[], datetime], *, parent: int | None = None):
        self._engine, self._lease, self._clock, self._parent = engine, lease, clock, parent
        self._problem: Interrupted | None = None
        self._over = Event()
        self._thread = Thread(target=self._keep, name="retrain-lease", daemon=True)

    def __enter__(self) -> Holding:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        give_back(self._engine, self._lease, self._clock())

    def stop(self, reason: Phrase, *, crashed: bool = False) -> None:
        """Makes the run raise Interrupted at its next step. Safe in a signal handler."""
        self._problem = self._problem or Interrupted(reason, crashed=crashed)

    def check(self) -> None:
        """Raises Interrupted if this process must not go on with the run."""
        if self._problem:
            raise self._problem

    def confirm(self, conn: Connection) -> None:
        """As `check`, and holds the fencing token against the lease row in the transaction of `conn`."""
        self.check()
        if not self.owns(conn):
            raise Interrupted(Phrase("the lease of this run was taken over: whoever has it goes on with the run"))

    def owns(self, conn: Connection) -> bool:
        """Whether the lease is still this run's, whatever else `check` says."""
        return owns(conn, self._lease, self._clock())

    def _keep(self) -> None:
        renewed = monotonic()
        while not self._over.wait(LOOK_S):
            if self._parent is not None and orphaned(self._parent):
                self.stop(Phrase("the agent that started it is gone"), crashed=True)
            if monotonic() - renewed >= RENEW_S:
                renewed = monotonic()
                self._renew()

    def _renew(self) -> None:
        try:
            with writing(self._engine) as conn:
                self._lease = leases.renew(conn, self._lease, TTL, self._clock())
        except Fenced:
            self.stop(Phrase("its lease was taken over"))
        except StoreError as error:
            log.warning("lease_not_renewed", problem=str(error))
            if self._clock() >= self._lease.expires_at:
                self.stop(Phrase("its lease ran out while the database did not answer"))


def orphaned(parent: int) -> bool:
    """Whether the process that started this one is gone, by its id."""
    return os.getppid() != parent


def owns(conn: Connection, lease: Lease, now: datetime) -> bool:
    """Whether a lease still holds; what is written about its run in the transaction of `conn` is then no one else's."""
    try:
        leases.check(conn, lease, now)
    except Fenced:
        return False
    return True


def give_back(engine: Engine, lease: Lease, now: datetime) -> None:
    """Releases the lease; where the database does not answer, it runs out by itself."""
    try:
        with writing(engine) as conn:
            leases.release(conn, lease, now)
    except StoreError as error:
        log.warning("lease_not_released", problem=str(error))
