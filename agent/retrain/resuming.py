"""Runs whose process is gone: taken up again from where they were, or given up after so many attempts.

Whoever works on a run holds the lease. So whoever has just taken it knows that nobody works on any run, and that one
which has no end yet was left by a process that ended: killed, crashed, or told to end with its agent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.retrain import freezing
from agent.settings import Settings
from agent.store import products, runs
from agent.store.runs import TrainingRun

MOST_ATTEMPTS = 3
WITHOUT_A_WORD = Phrase("its process ended without a word")

log = structlog.get_logger()


def take_up(conn: Connection, settings: Settings, now: datetime) -> TrainingRun | None:
    """Takes up the oldest run that may go on, one attempt more; None where there is none.

    A run goes on with the present settings and its own snapshot. One that was tried `MOST_ATTEMPTS` times ends as
    failed, with what ended each attempt as its reason.
    """
    for run in runs.running(conn):
        if (left := _left(conn, run, now)) is not None:
            return _take(conn, left, settings, now)
    return None


def take_up_of(conn: Connection, settings: Settings, product_id: int, cold: bool, now: datetime) -> TrainingRun | None:
    """As `take_up`, for a person who wants a product trained now: only a run that would do just that.

    One that has other samples than there are now, or another start, ends as cancelled.
    """
    for run in runs.running(conn):
        if run.product_id != product_id or (left := _left(conn, run, now)) is None:
            continue
        if left.settings.get("cold", False) == cold and _is_up_to_date(conn, left, settings, now):
            return _take(conn, left, settings, now)
        runs.close(conn, left.id, "cancelled", Phrase("a person started another run in its place"), now)
    return None


def deciding(settings: Settings) -> dict[str, Any]:
    """What is recorded of the settings with which a run goes on."""
    sections = {"training", "scoring", "certificate", "gate"}
    return {**settings.model_dump(mode="json", include=sections), "decision_hash": settings.decision_hash}


def _left(conn: Connection, run: TrainingRun, now: datetime) -> TrainingRun | None:
    """The run as it was left, ready to be taken up; None where it has had its attempts, or its product is gone."""
    if run.state == "running":
        runs.leave(conn, run.id, WITHOUT_A_WORD, now, crashed=True)
        log.warning("training_run_dead", run=run.id, attempts=run.attempts, problem=WITHOUT_A_WORD)
        run = runs.get(conn, run.id)
    if products.get(conn, run.product_id).retired_at is not None:
        runs.close(conn, run.id, "cancelled", Phrase("the product was retired"), now)
        return None
    if run.attempts < MOST_ATTEMPTS:
        return run
    reason = Phrase("given up: {why}", why=run.told)
    runs.close(conn, run.id, "failed", reason, now)
    log.error("training_run_given_up", run=run.id, attempts=run.attempts, reason=reason)
    return None


def _take(conn: Connection, run: TrainingRun, settings: Settings, now: datetime) -> TrainingRun:
    taken = runs.take(conn, run.id, {**run.settings, **deciding(settings)}, now)
    log.info("training_run_taken_up", run=run.id, attempt=taken.attempts, after=run.reason)
    return taken


def _is_up_to_date(conn: Connection, run: TrainingRun, settings: Settings, now: datetime) -> bool:
    product = products.get(conn, run.product_id)
    return run.snapshot_id in (None, freezing.freeze(conn, settings, product, now)[0].id)
