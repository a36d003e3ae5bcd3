"""The child process of one training run: `python -m agent.retrain.job --run ID --holder NAME --token N`.

The scheduler starts it with the lease already taken and the run opened; the settings come by the environment. It works
at low priority on half of the cores, so that the live line keeps its speed. SIGTERM, and the end of the agent that
started it, end it too: the run is then left to whoever takes the lease next. Its exit status is 0 where a verdict is on
record.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import structlog

from agent import logs
from agent import settings as settings_module
from agent.retrain import run
from agent.retrain.errors import Cancelled, Interrupted, RetrainError
from agent.retrain.holding import LEASE, TTL, Holding
from agent.settings import Settings, utc_now
from agent.store.blobs import open_blobs
from agent.store.engine import open_engine
from agent.store.errors import StoreError
from agent.store.leases import Lease

CANCELLED, FAILED, LEFT = 3, 4, 5

log = structlog.get_logger()


def command(run_id: int, lease: Lease) -> list[str]:
    """The command line that does a run under a lease; run it with `environment` and as a child of the holder."""
    arguments = ["--run", str(run_id), "--holder", lease.holder, "--token", str(lease.token)]
    return [sys.executable, "-m", "agent.retrain.job", *arguments, "--parent", str(os.getpid())]


def threads() -> int:
    """Half of the cores, at least one."""
    return max(1, (os.cpu_count() or 1) // 2)


def environment(settings: Settings) -> dict[str, str]:
    """The child's environment: this one's, exactly these settings, and as many threads as `threads` says."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads()))
    return {**os.environ, **settings_module.environment(settings), **limits}


def main(arguments: Sequence[str]) -> int:
    """Does the run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agent.retrain.job", description="Does one opened training run.")
    parser.add_argument("--run", type=int, required=True, help="id of the run's row")
    parser.add_argument("--holder", required=True, help="who holds the lease")
    parser.add_argument("--token", type=int, required=True, help="the lease's fencing token")
    parser.add_argument("--parent", type=int, required=True, help="process id of the agent that started this")
    given = parser.parse_args(arguments)
    settings = settings_module.load(None, os.environ)
    logs.configure(settings.log.level, settings.log.format)
    os.nice(settings.retrain.nice)
    engine = open_engine(settings.database.url)
    lease = Lease(LEASE, given.holder, given.token, utc_now() + TTL)
    with Holding(engine, lease, utc_now, parent=given.parent) as holding:

        def stop(signum: int, frame: FrameType | None) -> None:
            holding.stop("the agent that started it was stopped")

        signal.signal(signal.SIGTERM, stop)
        try:
            run.execute(
                engine, open_blobs(settings.blobs), settings, given.run, holding,
                clock=utc_now, threads=threads(),
            )  # fmt: skip
        except Cancelled:
            return CANCELLED
        except Interrupted:
            return LEFT
        except (RetrainError, StoreError) as error:
            log.error("training_failed", run=given.run, problem=str(error))
            return FAILED
        except Exception:
            log.exception("training_failed", run=given.run)
            return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
