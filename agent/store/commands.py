"""Commands: work that a page asks for and an agent does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, kept, remade
from agent.store.errors import Conflict
from agent.store.rows import columns, one, read, read_all
from agent.store.tables import command

PENDING = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Command:
    """`by` is the user who asked; `args` and `result` are JSON. While it runs, `result` is what came of it so far."""

    id: int
    kind: str
    args: Mapping[str, Any]
    by: int
    state: str  # queued | running | done | failed
    result: Mapping[str, Any] | None
    created_at: datetime
    finished_at: datetime | None

    @property
    def problem(self) -> str | None:
        """Why it failed, as it was made, so that a page can say it in the plant's language."""
        problem = (self.result or {}).get("problem")
        return remade(str(problem), (self.result or {}).get(MADE)) if problem else None


def add(conn: Connection, kind: str, args: Mapping[str, Any], by: int, now: datetime) -> int:
    """Queues a command and returns its id."""
    statement = sa.insert(command).values(kind=kind, args=dict(args), by=by, state="queued", created_at=now)
    return int(conn.execute(statement.returning(command.c.id)).scalar_one())


def next(conn: Connection, kinds: Collection[str]) -> Command | None:
    """Takes the oldest queued command of these kinds: it is `running` when the transaction commits."""
    oldest = (
        sa.select(command.c.id)
        .where(command.c.state == "queued", command.c.kind.in_(kinds))
        .order_by(command.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    taken = sa.update(command).where(command.c.id == oldest.scalar_subquery(), command.c.state == "queued")
    found = conn.execute(taken.values(state="running").returning(*columns(command, Command))).one_or_none()
    return read(Command, found) if found else None


def waits(conn: Connection, kind: str) -> bool:
    """Whether a command of that kind is queued."""
    query = sa.select(command.c.id).where(command.c.state == "queued", command.c.kind == kind)
    return conn.execute(query.limit(1)).first() is not None


def restart(conn: Connection, kinds: Collection[str]) -> int:
    """Queues running commands of these kinds again, whose agents are gone; returns how many."""
    dead = sa.update(command).where(command.c.state == "running", command.c.kind.in_(kinds))
    return conn.execute(dead.values(state="queued")).rowcount


def of_product(conn: Connection, kind: str, product_id: int) -> Command | None:
    """The newest command of that kind whose args name the product."""
    query = sa.select(*columns(command, Command)).where(command.c.kind == kind)
    mine = command.c.args["product_id"].as_integer() == product_id
    found = conn.execute(query.where(mine).order_by(command.c.id.desc()).limit(1)).one_or_none()
    return read(Command, found) if found else None


def waiting(conn: Connection, kinds: Collection[str]) -> list[Command]:
    """Those of these kinds that are not finished, oldest first."""
    query = sa.select(*columns(command, Command)).where(command.c.kind.in_(kinds), command.c.state.in_(PENDING))
    return read_all(Command, conn.execute(query.order_by(command.c.id)))


def latest(conn: Connection, kinds: Collection[str], limit: int) -> list[Command]:
    """The newest of these kinds, newest first."""
    query = sa.select(*columns(command, Command)).where(command.c.kind.in_(kinds))
    return read_all(Command, conn.execute(query.order_by(command.c.id.desc()).limit(limit)))


def tell(conn: Connection, command_id: int, result: Mapping[str, Any], *, again: bool = False) -> None:
    """Says what came of a running command so far; `again`: it goes back into the queue.

    Raises:
        Conflict: it is not running.
    """
    mine = sa.and_(command.c.id == command_id, command.c.state == "running")
    changes = {"result": dict(result), "state": "queued" if again else "running"}
    if conn.execute(sa.update(command).where(mine).values(changes)).rowcount != 1:
        raise Conflict("command {command_id} is not running", command_id=command_id)


def finish(
    conn: Connection, command_id: int, *, failed: bool = False, result: Mapping[str, Any] | None = None, now: datetime
) -> None:
    """Closes a running command.

    Raises:
        Conflict: it is not running.
    """
    closed = (
        sa.update(command)
        .where(command.c.id == command_id, command.c.state == "running")
        .values(state="failed" if failed else "done", result=dict(result or {}), finished_at=now)
    )
    if conn.execute(closed).rowcount != 1:
        raise Conflict("command {command_id} is not running", command_id=command_id)


def fail(conn: Connection, command_id: int, problem: str, now: datetime) -> None:
    """Closes a running command that cannot be done, and says why.

    Raises:
        Conflict: it is not running.
    """
    finish(conn, command_id, failed=True, result={"problem": problem, **kept(problem)}, now=now)


def withdraw(conn: Connection, command_id: int, by: str, now: datetime) -> None:
    """Closes a queued command as failed, `cancelled_by` that user; what came of it so far stays.

    Raises:
        Conflict: it is not queued.
    """
    this = sa.update(command).where(command.c.id == command_id)
    closed = this.where(command.c.state == "queued").values(state="failed", finished_at=now)
    found = conn.execute(closed.returning(command.c.result)).one_or_none()
    if found is None:
        raise Conflict("command {command_id} waits no more", command_id=command_id)
    conn.execute(this.values(result={**(found.result or {}), "waits": "", "cancelled_by": by}))


def get(conn: Connection, command_id: int) -> Command:
    """The command of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Command, command, command_id)


def recent(conn: Connection, limit: int = 50) -> list[Command]:
    """The newest ones, newest first."""
    return read_all(Command, conn.execute(sa.select(*command.c).order_by(command.c.id.desc()).limit(limit)))
