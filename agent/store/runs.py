"""Training runs: their progress and their end, and the gate's report on what they trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import Conflict
from agent.store.rows import columns, one, read, read_all, update_one
from agent.store.tables import gate_report, training_run

UNFINISHED = ("queued", "running")


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training run; `loss` and `eta_s` are those of the last progress."""

    id: int
    product_id: int
    snapshot_id: int | None
    trigger: str  # samples | cron | person | import
    requested_by: int | None
    state: str  # queued | running | promoted | shadow | rejected | needs_person | failed | cancelled
    reason: str | None
    phase: str | None  # features | training | calibrating | comparing
    step: int
    steps: int
    loss: float | None
    eta_s: float | None
    settings: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def held_back(self) -> str | None:
        """Which new samples wait for the next run and why, in words; None: none, or the run has not begun."""
        return self.settings.get("held_back", {}).get("words") or None


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found of one challenger."""

    id: int
    training_run_id: int
    model_version_id: int
    verdict: str  # pass | fail | needs_person
    words: str
    numbers: Mapping[str, Any]
    created_at: datetime


def open(
    conn: Connection,
    *,
    product_id: int,
    trigger: str,
    requested_by: int | None = None,
    settings: Mapping[str, Any],
    now: datetime,
) -> TrainingRun:
    """Adds a queued run."""
    statement = sa.insert(training_run).values(
        product_id=product_id,
        trigger=trigger,
        requested_by=requested_by,
        state="queued",
        settings=dict(settings),
        created_at=now,
    )
    return get(conn, int(conn.execute(statement.returning(training_run.c.id)).scalar_one()))


def start(conn: Connection, run_id: int, snapshot_id: int | None, now: datetime) -> None:
    """Marks a run as running on a snapshot; a run that is resumed after a crash too.

    Raises:
        Conflict: it is finished or cancelled.
    """
    started = sa.func.coalesce(training_run.c.started_at, sa.literal(now, training_run.c.started_at.type))
    changes = {"state": "running", "snapshot_id": snapshot_id, "started_at": started, "heartbeat_at": now}
    if not _change(conn, run_id, **changes):
        raise Conflict(f"training run {run_id} is not waiting to be run")


def note(conn: Connection, run_id: int, **facts: Any) -> None:
    """Adds facts to the settings on a run's record, such as which samples it held back.

    Raises:
        NotFound: there is no such run.
    """
    update_one(conn, training_run, run_id, settings={**get(conn, run_id).settings, **facts})


def progress(
    conn: Connection,
    run_id: int,
    *,
    phase: str,
    step: int = 0,
    steps: int = 0,
    loss: float | None = None,
    eta_s: float | None = None,
    now: datetime,
) -> bool:
    """Records how far a run is. False: it was cancelled or closed, and must stop."""
    return _change(conn, run_id, phase=phase, step=step, steps=steps, loss=loss, eta_s=eta_s, heartbeat_at=now)


def close(conn: Connection, run_id: int, state: str, reason: str, now: datetime) -> None:
    """Ends a run, with its reason in words.

    Raises:
        Conflict: it has ended already.
    """
    if not _change(conn, run_id, state=state, reason=reason, eta_s=None, finished_at=now):
        raise Conflict(f"training run {run_id} has ended already")


def get(conn: Connection, run_id: int) -> TrainingRun:
    """The run of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, TrainingRun, training_run, run_id)


def all(conn: Connection, product_id: int | None = None, limit: int = 50) -> list[TrainingRun]:
    """The newest runs, newest first, of one product or of all."""
    query = sa.select(*columns(training_run, TrainingRun)).order_by(training_run.c.id.desc()).limit(limit)
    if product_id is not None:
        query = query.where(training_run.c.product_id == product_id)
    return read_all(TrainingRun, conn.execute(query))


def running(conn: Connection) -> list[TrainingRun]:
    """The runs that are queued or running, oldest first."""
    query = sa.select(*columns(training_run, TrainingRun)).where(training_run.c.state.in_(UNFINISHED))
    return read_all(TrainingRun, conn.execute(query.order_by(training_run.c.id)))


def add_report(
    conn: Connection,
    *,
    run_id: int,
    version_id: int,
    verdict: str,
    words: str,
    numbers: Mapping[str, Any],
    now: datetime,
) -> int:
    """Adds the gate's report and returns its id."""
    statement = sa.insert(gate_report).values(
        training_run_id=run_id,
        model_version_id=version_id,
        verdict=verdict,
        words=words,
        numbers=dict(numbers),
        created_at=now,
    )
    return int(conn.execute(statement.returning(gate_report.c.id)).scalar_one())


def report_of(conn: Connection, run_id: int) -> GateReport | None:
    """The newest report of a run."""
    query = sa.select(*columns(gate_report, GateReport)).where(gate_report.c.training_run_id == run_id)
    found = conn.execute(query.order_by(gate_report.c.id.desc()).limit(1)).one_or_none()
    return read(GateReport, found) if found else None


def _change(conn: Connection, run_id: int, **changes: object) -> bool:
    unfinished = (training_run.c.id == run_id, training_run.c.state.in_(UNFINISHED))
    return conn.execute(sa.update(training_run).where(*unfinished).values(**changes)).rowcount == 1
