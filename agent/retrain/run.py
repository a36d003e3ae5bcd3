"""One training run: opened under the lease, done, and closed honestly whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from agent.retrain import holding as holding_module
from agent.retrain.due import VERDICTS, Due
from agent.retrain.errors import Busy, Cancelled, RetrainError
from agent.retrain.holding import Holding
from agent.retrain.progress import OnProgress, RunRow, Step
from agent.retrain.result import RunResult
from agent.settings import Settings
from agent.store import commands, runs
from agent.store.blobs import BlobStore
from agent.store.engine import reading, writing
from agent.store.errors import StoreError

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

    The first model of a product is promoted at once. Later ones are promoted, rejected, or left as a candidate that an
    engineer may promote.

    Args:
        engine: the database.
        blobs: holds the samples' images; takes the artifact.
        settings: training, certificate, scoring, gate; the product's own teacher and rate go before them.
        product_id: which product.
        trigger: samples, cron, person or import.
        requested_by: user id; None: the agent.
        cold: start from fresh weights.
        clock: the time.
        on_progress: hears of each step; raising from it ends the run.
        threads: CPU threads of training and scoring; 0 = all cores.

    Returns:
        The outcome, as it is on record.

    Raises:
        Busy: another run holds the lease.
        TooFewImages: the samples are not enough for any certificate.
        Cancelled: the run was told to stop.
        RetrainError, model errors, StoreError: it failed; the run is on record as failed, and no version is.
    """
    with writing(engine) as conn:
        lease = holding_module.acquire(conn, clock())
        if lease is None:
            raise Busy("another training run is under way; wait for it: goodpart models runs --product NAME")
        end_dead_runs(conn, clock())
        run_id = open_run(conn, settings, Due(product_id, trigger, requested_by, cold=cold), clock())
    with Holding(engine, lease, clock) as holding:
        return execute(engine, blobs, settings, run_id, holding, clock=clock, on_progress=on_progress, threads=threads)


def open_run(conn: Connection, settings: Settings, due: Due, now: datetime) -> int:
    """The row of a new run, queued. The caller holds the lease."""
    run = runs.open(
        conn,
        product_id=due.product_id,
        trigger=due.trigger,
        requested_by=due.requested_by,
        settings={**_deciding(settings), "command": due.command_id, "cold": due.cold},
        now=now,
    )
    return run.id


def end(conn: Connection, run_id: int, state: str, reason: str, now: datetime) -> str:
    """Ends a run that has no end yet, and the command that asked for it; returns the state that is on record."""
    run = runs.get(conn, run_id)
    if run.state in runs.UNFINISHED:
        runs.close(conn, run_id, state, reason, now)
    else:
        state = run.state
    command_id = run.settings.get("command")
    if command_id is not None and commands.get(conn, command_id).state == "running":
        failed = state not in VERDICTS
        commands.finish(conn, command_id, failed=failed, result={"run": run_id, "state": state}, now=now)
    return state


def end_dead_runs(conn: Connection, now: datetime) -> list[int]:
    """Marks runs failed whose process is gone, and ends the commands that asked for them; returns the runs' ids.

    Whoever works on a run holds the lease; so the caller, who has just taken it, knows that nobody does.
    """
    dead = [run.id for run in runs.running(conn)]
    for run_id in dead:
        end(conn, run_id, "failed", "its process ended without a word", now)
        log.warning("training_run_dead", run=run_id)
    return dead


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
    """Does an opened run under its lease; a run that fails or is stopped is recorded so, then the error goes on."""
    # Here, because it loads torch, and the scheduler only opens runs.
    from agent.retrain.work import Bench, work

    row = RunRow(engine, run_id, clock=clock, on_progress=on_progress)

    def report(step: Step) -> None:
        holding.check()
        row(step)

    try:
        with reading(engine) as conn:
            run = runs.get(conn, run_id)
        return work(Bench(engine, blobs, settings, clock, threads), run, holding, report)
    except BaseException as error:
        stopped = isinstance(error, Cancelled | KeyboardInterrupt)
        _close(engine, run_id, "cancelled" if stopped else "failed", _words(error), clock())
        raise


def _close(engine: Engine, run_id: int, state: str, reason: str, now: datetime) -> None:
    try:
        with writing(engine) as conn:
            end(conn, run_id, state, reason, now)
    except StoreError as error:
        log.warning("training_run_not_closed", run=run_id, state=state, problem=str(error))
    log.warning("training_ended", run=run_id, state=state, reason=reason)


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    known = isinstance(error, RetrainError | StoreError) or type(error).__module__.startswith("model.")
    return str(error) if known else f"{type(error).__name__}: {error}"


def _deciding(settings: Settings) -> dict[str, Any]:
    sections = {"training", "scoring", "certificate", "gate"}
    return {**settings.model_dump(mode="json", include=sections), "decision_hash": settings.decision_hash}
