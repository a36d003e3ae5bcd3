"""Withdrawals: samples that one person asked to take out, and what a second one said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import word
from agent.store.errors import Conflict
from agent.store.rows import columns, one, read, read_all
from agent.store.tables import sample, withdrawal


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """One of them; open while `decision` is None."""

    id: int
    sample_id: int
    reason: str
    asked_by: int
    asked_at: datetime
    decided_by: int | None
    decision: str | None  # confirmed | refused
    decided_at: datetime | None


def ask(conn: Connection, sample_id: int, reason: str, by: int, now: datetime) -> int:
    """Adds one and returns its id. Whether there is an open one already is the caller's to look at: `open_of`."""
    row = {"sample_id": sample_id, "reason": reason, "asked_by": by, "asked_at": now}
    return int(conn.execute(sa.insert(withdrawal).values(**row).returning(withdrawal.c.id)).scalar_one())


def get(conn: Connection, withdrawal_id: int) -> Withdrawal:
    """The withdrawal of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Withdrawal, withdrawal, withdrawal_id)


def open_of(conn: Connection, sample_id: int) -> Withdrawal | None:
    """The sample's open one."""
    query = sa.select(*columns(withdrawal, Withdrawal))
    query = query.where(withdrawal.c.sample_id == sample_id, withdrawal.c.decision.is_(None))
    found = conn.execute(query).one_or_none()
    return read(Withdrawal, found) if found else None


def confirmed(conn: Connection, sample_id: int) -> bool:
    """Whether two people have taken the sample out at some time."""
    query = sa.select(withdrawal.c.id).where(withdrawal.c.sample_id == sample_id, withdrawal.c.decision == "confirmed")
    return conn.execute(query.limit(1)).first() is not None


def all(conn: Connection, product_id: int, *, decided: bool = False) -> list[Withdrawal]:
    """The product's open ones, or the decided ones, oldest first."""
    query = sa.select(*columns(withdrawal, Withdrawal)).join(sample).where(sample.c.product_id == product_id)
    query = query.where(withdrawal.c.decision.is_not(None) if decided else withdrawal.c.decision.is_(None))
    return read_all(Withdrawal, conn.execute(query.order_by(withdrawal.c.id)))


def decide(conn: Connection, withdrawal_id: int, decision: str, by: int, now: datetime) -> None:
    """Closes an open one as confirmed or refused.

    Raises:
        NotFound: there is none of that id.
        Conflict: it was decided already.
    """
    row = withdrawal.c
    closed = sa.update(withdrawal).where(row.id == withdrawal_id, row.decision.is_(None))
    if conn.execute(closed.values(decision=decision, decided_by=by, decided_at=now)).rowcount != 1:
        raise Conflict(
            "withdrawal {withdrawal_id} was {decision} already",
            withdrawal_id=withdrawal_id,
            decision=word(get(conn, withdrawal_id).decision or ""),
        )
