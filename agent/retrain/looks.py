"""Starts looking through what was collected to teach a product, in a child process. Any number of agents may run this.

The lease `look` says who does it. Whoever takes it queues again what a dead agent left running.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from datetime import datetime
from threading import Lock
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.retrain import child
from agent.retrain.holding import TTL
from agent.settings import Settings
from agent.store import commands, leases, teachings
from agent.store.commands import Command
from agent.store.engine import writing
from agent.store.errors import StoreError
from agent.store.leases import Lease

LEASE = "look"

log = structlog.get_logger()


class Looks:
    """Looks for a `look` command, does it in a child, and says how that ended."""

    def __init__(self, settings: Settings, engine: Engine, clock: Callable[[], datetime]):
        self._settings, self._engine, self._clock = settings, engine, clock
        self._lock = Lock()  # guards what follows
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def tick(self) -> None:
        """Does the next command, if there is one, and returns when its child has ended."""
        try:
            with writing(self._engine) as conn:
                taken = take(conn, self._clock())
        except StoreError as error:
            log.warning("look_check_failed", problem=str(error))
            return
        if taken:
            self._run(*taken)

    def stop(self) -> None:
        """Kills a running child, which has nothing to lose; its command is done by the next agent."""
        with self._lock:
            self._stopping, process = True, self._process
        if process:
            process.kill()

    @property
    def running(self) -> bool:
        """Whether a child is at work."""
        with self._lock:
            return self._process is not None

    def _run(self, request: Command, lease: Lease) -> None:
        with self._lock:
            if not self._stopping:
                self._process = child.spawn(self._settings, child.LOOK, "--command", str(request.id), lease=lease)
            process = self._process
        code = process.wait() if process else 0
        with self._lock:
            self._process = None
        try:
            with writing(self._engine) as conn:
                self._ended(conn, request, lease, code)
        except StoreError as error:
            log.info("look_left", command=request.id, problem=str(error))

    def _ended(self, conn: Connection, request: Command, lease: Lease, code: int) -> None:
        """Only a child that was killed still has the lease; any other has said itself how it ended."""
        leases.check(conn, lease, self._clock())
        if not self._stopping and commands.get(conn, request.id).state == "running":
            problem = Phrase("its process ended with status {code}", code=code)
            commands.fail(conn, request.id, problem, self._clock())
        leases.release(conn, lease, self._clock())


def take(conn: Connection, now: datetime) -> tuple[Command, Lease] | None:
    """Takes the lease and the oldest command; None where another agent has it, or there is nothing to do."""
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    lease = leases.acquire(conn, LEASE, holder, TTL, now)
    if lease is None:
        return None
    commands.restart(conn, [teachings.LOOK])
    request = commands.next(conn, [teachings.LOOK])
    if request is None:
        leases.release(conn, lease, now)
        return None
    return request, lease
