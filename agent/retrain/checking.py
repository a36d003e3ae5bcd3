"""The child process that checks waiting proposals: `python -m agent.retrain.checking --parent PID`.

It scores the defect bank and as many normals, which takes minutes on a CPU; so it runs beside the agent, at low
priority, only when proposals wait, and one at a time among all agents (the lease `quarantine`). It ends with its agent.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.retrain import child, holding
from agent.retrain.errors import Busy, Cancelled, RetrainError
from agent.retrain.holding import Holding
from agent.retrain.progress import OnProgress
from agent.settings import Settings, utc_now
from agent.store import proposals
from agent.store.blobs import open_blobs
from agent.store.engine import reading, writing
from agent.store.errors import StoreError

LEASE = "quarantine"
PATIENCE_S = 4.0  # what a child has between SIGTERM and SIGKILL

log = structlog.get_logger()


class Checker:
    """Starts the child where proposals wait and none runs. Its tick is called by one thread at a time."""

    def __init__(self, settings: Settings, engine: Engine):
        self._settings, self._engine = settings, engine
        self._child: subprocess.Popen[bytes] | None = None

    def tick(self) -> None:
        """Looks once. An outage of the database is for the next look."""
        if self._child and self._child.poll() is None:
            return
        try:
            with reading(self._engine) as conn:
                waiting = proposals.products(conn)
        except StoreError as error:
            log.warning("proposals_not_looked_at", problem=str(error))
            return
        if waiting:
            self._child = child.spawn(self._settings, child.CHECKING)

    def stop(self) -> None:
        """Ends a running child; what it had not judged waits."""
        if self._child and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()


def check(
    engine: Engine,
    settings: Settings,
    clock: Callable[[], datetime],
    *,
    parent: int | None = None,
    threads: int = 0,
    on_progress: OnProgress | None = None,
) -> Counter[str]:
    """Checks all waiting proposals under the lease; counts them by their new state.

    Raises:
        Busy: somebody else does it.
        Cancelled: the agent that started it is gone, or the lease was lost.
        RetrainError, StoreError, model errors: what could not be checked waits.
    """
    from agent.retrain.quarantine import Check
    from model import artifact as artifacts
    from model.hottest import Hottest

    with writing(engine) as conn:
        lease = holding.acquire(conn, clock(), LEASE)
    if lease is None:
        raise Busy("the proposals are being checked: goodpart samples list --state quarantined shows what was held up")

    def open_eye(data: bytes) -> Hottest:
        artifact = artifacts.from_bytes(data)
        weights = settings.training.weights_of(artifact.manifest.teacher)
        return Hottest(artifact, weights=weights, device=settings.scoring.device, threads=threads)

    with Holding(engine, lease, clock, parent=parent) as held:
        return Check(engine, open_blobs(settings.blobs), settings, open_eye, clock, held.check).all(on_progress)


def main(arguments: Sequence[str]) -> int:
    """Does one check; returns the exit status."""
    given = child.parser(child.CHECKING, "Checks waiting proposals.", leased=False).parse_args(arguments)
    settings, engine = child.begin(given.parent)
    try:
        with suppress(Busy, Cancelled):
            check(engine, settings, utc_now, parent=given.parent, threads=child.threads())
    except (RetrainError, StoreError) as error:
        log.warning("proposals_not_checked", problem=str(error))
        return 1
    except Exception:
        log.exception("proposals_not_checked")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
