"""The child process of one training run: `python -m agent.retrain.job --run ID --holder NAME --token N`.

The scheduler starts it with the lease already taken and the run opened; the settings come by the environment. It works
at low priority on half of the cores, so that the live line keeps its speed. SIGTERM, and the end of the agent that
started it, end it too: the run is then left to whoever takes the lease next. Its exit status is 0 where a verdict is on
record.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

import structlog

from agent.phrases import Phrase
from agent.retrain import child, run
from agent.retrain.errors import Cancelled, Interrupted, RetrainError
from agent.retrain.holding import LEASE, Holding
from agent.settings import utc_now
from agent.store.blobs import open_blobs
from agent.store.errors import StoreError

CANCELLED, FAILED, LEFT = 3, 4, 5

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Does the run; returns the exit status."""
    parser = child.parser(child.JOB, "Does one opened training run.")
    parser.add_argument("--run", type=int, required=True, help="id of the run's row")
    given = parser.parse_args(arguments)
    settings, engine = child.begin(given.parent)
    with Holding(engine, child.lease_of(given, LEASE), utc_now, parent=given.parent) as holding:

        def stop(signum: int, frame: FrameType | None) -> None:
            holding.stop(Phrase("the agent that started it was stopped"))

        signal.signal(signal.SIGTERM, stop)
        try:
            run.execute(
                engine, open_blobs(settings.blobs), settings, given.run, holding,
                clock=utc_now, threads=child.threads(),
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
