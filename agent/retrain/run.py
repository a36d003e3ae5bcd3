"""One training run: opened under the lease, done, and closed honestly whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from agent.retrain import checkpoints, resuming
from agent.retrain import holding as holding_module
from agent.retrain.due import Due
from agent.retrain.errors import Busy, Cancelled, Interrupted, reason
from agent.retrain.holding import Holding
from agent.retrain.progress import OnProgress, RunRow, Step
from agent.retrain.result import RunResult
from agent.settings import Settings
from agent.store import runs
from agent.store.blobs import BlobStore
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.runs import TrainingRun

log = structlog.get_logger()


def train_product(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    product_id: int,
    *,
    trigger: str,
    requested_by: int | None,
    cold: bool = False,
    clock: Callable[[], datetime],
    on_progress: OnProgress | None = None,
    threads: int = 0,
) -> RunResult:
    """Trains a product's next version here and now, and lets the gate decide about it.

    The first model of a product is promoted at once where no frame of it has come yet; else, and where it was taught
    from the stream, it is left as a candidate. Later ones are promoted, rejected, or left as a candidate that an
    engineer may promote. A run on the same samples that a crash left is taken up again.

    Args:
        engine: the database.
        blobs: holds the samples' images; takes the artifact.
        settings: training, certificate, scoring, gate; the product's own teacher and rate go before them.
        product_id: which product.
        trigger: samples, cron, person, import or teach.
        requested_by: user id; None: the agent.
        cold: start from fresh weights, whatever retrain.warm says.
        clock: the time.
        on_progress: hears of each step; raising from it ends the run.
        threads: CPU threads of training and scoring; 0 = all cores.

    Returns:
        The outcome, as it is on record.

    Raises:
        Busy: another run holds the lease.
        TooFewImages: the samples are not enough for any certificate.
        Cancelled: a person ended the run.
        Interrupted: the lease is lost; whoever has it goes on with the run.
        RetrainError, model errors, StoreError: it failed; the run is on record as failed, and no version is.
    """
    with writing(engine) as conn:
        lease = holding_module.acquire(conn, clock())
        if lease is None:
            raise Busy("another training run is under way; wait for it: goodpart models runs --product NAME")
        run = resuming.take_up_of(conn, settings, product_id, cold, clock())
        run = run or open_run(conn, settings, Due(product_id, trigger, requested_by, cold=cold), clock())
    with Holding(engine, lease, clock) as holding:
        return execute(engine, blobs, settings, run.id, holding, clock=clock, on_progress=on_progress, threads=threads)


def open_run(conn: Connection, settings: Settings, due: Due, now: datetime) -> TrainingRun:
    """A new run, whose first attempt is the caller's, who holds the lease."""
    wanted = {**resuming.deciding(settings), "command": due.command_id, "cold": due.cold}
    run = runs.open(
        conn, product_id=due.product_id, trigger=due.trigger, requested_by=due.requested_by, settings=wanted, now=now
    )
    return runs.take(conn, run.id, wanted, now)


def execute(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    run_id: int,
    holding: Holding,
    *,
    clock: Callable[[], datetime],
    on_progress: OnProgress | None = None,
    threads: int = 0,
) -> RunResult:
    """Does a run that was taken up, under its lease; one that fails is recorded so, then the error goes on.

    A person's end of it is on record already. A process that must let go of it leaves it to the next.
    """
    # Here, because it loads torch, and the scheduler only opens runs.
    from agent.retrain.bench import Bench
    from agent.retrain.work import work

    with reading(engine) as conn:
        run = runs.get(conn, run_id)
    row = RunRow(engine, run_id, clock=clock, on_progress=on_progress, losses=run.losses or ())

    def report(step: Step) -> None:
        holding.check()
        row(step)

    try:
        result = work(Bench(engine, blobs, settings, clock, threads), run, holding, report)
    except Interrupted as error:
        _leave(engine, run, holding, error, clock())
        raise
    except BaseException as error:
        stopped = isinstance(error, Cancelled | KeyboardInterrupt)
        if _close(engine, run, holding, "cancelled" if stopped else "failed", reason(error), clock()):
            checkpoints.forget(settings.retrain.directory, run.id)
        raise
    checkpoints.forget(settings.retrain.directory, run.id)
    return result


def _leave(engine: Engine, run: TrainingRun, holding: Holding, why: Interrupted, now: datetime) -> None:
    log.warning("training_interrupted", run=run.id, attempt=run.attempts, reason=str(why))
    try:
        with writing(engine) as conn:
            if holding.owns(conn):
                runs.leave(conn, run.id, why.phrase, now, crashed=why.crashed)
    except StoreError as error:
        log.warning("training_run_not_left", run=run.id, problem=str(error))


def _close(engine: Engine, run: TrainingRun, holding: Holding, state: str, reason: str, now: datetime) -> bool:
    """Whether the run's end is on record, of this or of a person's making."""
    log.warning("training_ended", run=run.id, state=state, reason=reason)
    try:
        with writing(engine) as conn:
            if runs.get(conn, run.id).state not in runs.UNFINISHED:
                return True
            if holding.owns(conn):
                # Only who sits at this process can have cancelled it: any other person's end is on record already.
                runs.close(conn, run.id, state, reason, now, by_person=state == "cancelled")
                return True
    except StoreError as error:
        log.warning("training_run_not_closed", run=run.id, state=state, problem=str(error))
    return False
