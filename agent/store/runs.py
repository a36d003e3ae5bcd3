"""Training runs: their progress and their end, and the gate's report on what they trained."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, kept, made_of, remade, together
from agent.store import commands
from agent.store.errors import Conflict
from agent.store.rows import columns, one, read, read_all, update_one
from agent.store.tables import gate_report, training_run

UNFINISHED = ("queued", "running")
VERDICTS = ("promoted", "shadow", "rejected", "needs_person")
ENDS, BY_PERSON = "ends", "by_person"  # in a run's settings


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training run; `loss` and `eta_s` are those of the last progress.

    Running means that a process has it. Queued means that none has: it was only just opened, or `attempts` processes
    ended before it did, and `reason` says how.
    """

    id: int
    product_id: int
    snapshot_id: int | None
    trigger: str  # samples | cron | person | import | teach
    requested_by: int | None
    state: str  # queued | running | promoted | shadow | rejected | needs_person | failed | cancelled
    reason: str | None
    phase: str | None  # of model.progress.Progress, then calibrating | comparing
    step: int
    steps: int
    loss: float | None
    losses: Sequence[Sequence[float]] | None  # step and loss, thinned
    eta_s: float | None
    attempts: int  # processes that took it up
    settings: Mapping[str, Any]  # that decide, and: command (id), cold, parent (version id), made (of the reason), ends
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def held_back(self) -> str | None:
        """Which new samples wait for the next run and why, in words; None: none, or the run has not begun."""
        held: Mapping[str, Any] = self.settings.get("held_back", {})
        return remade(held["words"], held.get(MADE)) if held.get("words") else None

    @property
    def ends(self) -> Sequence[str]:
        """How each process that did not end the run left it, in words, oldest first: they stay when it has ended."""
        return [remade(one["words"], one.get(MADE)) for one in self.settings.get(ENDS, ())]

    @property
    def told(self) -> str | None:
        """Its reason as it was made, so that a page can say it in the plant's language."""
        return self.reason and remade(self.reason, self.settings.get(MADE))


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


def take(conn: Connection, run_id: int, settings: Mapping[str, Any], now: datetime) -> TrainingRun:
    """A process takes up a run with these settings: one attempt more.

    Raises:
        Conflict: it is finished or cancelled.
    """
    changes = {"state": "running", "attempts": training_run.c.attempts + 1, "settings": dict(settings)}
    if not _change(conn, run_id, **changes, heartbeat_at=now):
        raise Conflict("training run {run_id} is not waiting to be run", run_id=run_id)
    return get(conn, run_id)


def start(conn: Connection, run_id: int, snapshot_id: int | None, now: datetime) -> None:
    """Marks a run as running on a snapshot; a run that is resumed after a crash too.

    Raises:
        Conflict: it is finished or cancelled.
    """
    started = sa.func.coalesce(training_run.c.started_at, sa.literal(now, training_run.c.started_at.type))
    changes = {"state": "running", "snapshot_id": snapshot_id, "started_at": started, "heartbeat_at": now}
    if not _change(conn, run_id, **changes):
        raise Conflict("training run {run_id} is not waiting to be run", run_id=run_id)


def leave(conn: Connection, run_id: int, words: str, now: datetime, *, crashed: bool) -> bool:
    """A run's process has ended before the run; another may take it up. False: the run has ended.

    Args:
        conn: a writing transaction, of whoever holds the lease.
        run_id: the run.
        words: how the process ended; added to the run's reason, and to its `ends`, which stay.
        now: the time.
        crashed: a process that ended in good order gives its attempt back.
    """
    run = get(conn, run_id)
    words = Phrase("attempt {n}: {words}", n=run.attempts, words=words) if crashed else words
    reason = together("{one}; {other}", [run.told, words] if run.told else [words])
    attempts = run.attempts if crashed else max(0, run.attempts - 1)
    ends = [*run.settings.get(ENDS, ()), {"at": now.isoformat(), "words": words, **kept(words)}]
    why = _why(run, reason, **{ENDS: ends})
    return _change(conn, run_id, state="queued", **why, attempts=attempts, eta_s=None, heartbeat_at=now)


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
    losses: Sequence[tuple[int, float]] | None = None,
    eta_s: float | None = None,
    now: datetime,
) -> bool:
    """Records how far a run is; None leaves the losses. False: it was cancelled or closed, and must stop."""
    changes = {} if losses is None else {"losses": [list(point) for point in losses]}
    done = {"phase": phase, "step": step, "steps": steps, "loss": loss, "eta_s": eta_s}
    return _change(conn, run_id, **done, **changes, heartbeat_at=now)


def close(conn: Connection, run_id: int, state: str, reason: str, now: datetime, *, by_person: bool = False) -> None:
    """Ends a run, with its reason in words, and the command that asked for it.

    Args:
        conn: a writing transaction.
        run_id: the run.
        state: one of `VERDICTS`, failed or cancelled.
        reason: in words.
        now: the time.
        by_person: somebody cancelled it: they want nothing trained on what it has, so nothing of that is new any more.

    Raises:
        Conflict: it has ended already.
    """
    run = get(conn, run_id)
    facts = {BY_PERSON: True} if by_person else {}
    if not _change(conn, run_id, state=state, **_why(run, reason, **facts), eta_s=None, finished_at=now):
        raise Conflict("training run {run_id} has ended already", run_id=run_id)
    command_id = run.settings.get("command")
    if command_id is not None:
        result = {"run": run_id, "state": state}
        commands.finish(conn, command_id, failed=state not in VERDICTS, result=result, now=now)


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


def judged(conn: Connection, product_id: int) -> TrainingRun | None:
    """The product's newest run with a verdict: the gate's, or that of a person who cancelled it."""
    row = training_run.c
    cancelled = sa.and_(row.state == "cancelled", row.settings[BY_PERSON].as_boolean())
    query = sa.select(*columns(training_run, TrainingRun)).where(row.product_id == product_id)
    query = query.where(sa.or_(row.state.in_(VERDICTS), cancelled))
    found = conn.execute(query.order_by(row.id.desc()).limit(1)).one_or_none()
    return read(TrainingRun, found) if found else None


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
    return reports_of(conn, [run_id]).get(run_id)


def reports_of(conn: Connection, run_ids: Collection[int]) -> dict[int, GateReport]:
    """The newest report of each of these runs that has one, by run."""
    query = sa.select(*columns(gate_report, GateReport)).where(gate_report.c.training_run_id.in_(run_ids))
    return {one.training_run_id: one for one in read_all(GateReport, conn.execute(query.order_by(gate_report.c.id)))}


def _why(run: TrainingRun, reason: str, **facts: object) -> dict[str, object]:
    return {"reason": reason, "settings": {**run.settings, **facts, MADE: made_of(reason)}}


def _change(conn: Connection, run_id: int, **changes: object) -> bool:
    unfinished = (training_run.c.id == run_id, training_run.c.state.in_(UNFINISHED))
    return conn.execute(sa.update(training_run).where(*unfinished).values(**changes)).rowcount == 1
