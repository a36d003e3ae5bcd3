"""Proposals: parts that a review called normal, on their way to become training samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import Conflict
from agent.store.rows import columns, read_all
from agent.store.samples import Sample, get
from agent.store.tables import sample

_WAITING = (sample.c.revoked_at.is_(None), sample.c.state == "proposed")


def waiting(conn: Connection, product_id: int, limit: int) -> list[Sample]:
    """The product's proposals that no check has looked at, oldest first."""
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id, *_WAITING)
    return read_all(Sample, conn.execute(query.order_by(sample.c.id).limit(limit)))


def products(conn: Connection) -> list[int]:
    """The ids of the products that have such proposals."""
    query = sa.select(sample.c.product_id).where(*_WAITING).distinct().order_by(sample.c.product_id)
    return list(conn.execute(query).scalars())


def counts(conn: Connection, product_id: int) -> dict[str, int]:
    """How many of the product's train samples, revoked ones aside, are in each state that any is in."""
    query = sa.select(sample.c.state, sa.func.count()).where(
        sample.c.product_id == product_id, sample.c.role == "train", sample.c.revoked_at.is_(None)
    )
    return {str(row[0]): int(row[1]) for row in conn.execute(query.group_by(sample.c.state))}


def move(
    conn: Connection,
    sample_id: int,
    state: str,
    *,
    expected: Collection[str],
    by: int | None,
    quarantine: Mapping[str, Any] | None = None,
    now: datetime,
) -> None:
    """Moves a proposal to another state.

    Args:
        conn: a writing transaction.
        sample_id: of a sample that is not revoked.
        state: accepted, quarantined or refused.
        expected: the states that it may have now.
        by: who accepts it; None: the agent.
        quarantine: what the check found; None leaves what is there.
        now: the time.

    Raises:
        NotFound: there is no such sample.
        Conflict: it is revoked, or in another state.
    """
    changes: dict[str, Any] = {"state": state}
    if state == "accepted":
        changes |= {"accepted_by": by, "accepted_at": now}
    if quarantine is not None:
        changes["quarantine"] = dict(quarantine)
    still = (sample.c.id == sample_id, sample.c.revoked_at.is_(None), sample.c.state.in_(expected))
    if conn.execute(sa.update(sample).where(*still).values(**changes)).rowcount != 1:
        found = get(conn, sample_id)
        raise Conflict(f"sample {sample_id} is {'revoked' if found.revoked_at else found.state} already")
