"""The outbox: decisions committed with their frames, and sent afterwards."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import chunks, columns, insert_rows, listed, names, read_all
from agent.store.tables import outbox


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision to send: key (the station) and value (a JSON CloudEvent) of its Kafka record."""

    stream_id: int
    partition: int
    offset: int
    key: str
    value: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision not yet acknowledged by the broker."""

    id: int
    stream_id: int
    partition: int
    offset: int
    key: str
    value: bytes
    created_at: datetime


_VALUES = listed(NewDecision)


def add_all(conn: Connection, rows: Sequence[NewDecision]) -> None:
    """Adds the decisions of one partition's transaction."""
    insert_rows(conn, outbox, names(NewDecision), map(_VALUES, rows))


def batch(conn: Connection, stream_id: int, partition: int, limit: int) -> list[Decision]:
    """The first unsent decisions of a partition, in offset order."""
    query = sa.select(*columns(outbox, Decision)).where(
        outbox.c.stream_id == stream_id, outbox.c.partition == partition
    )
    return read_all(Decision, conn.execute(query.order_by(outbox.c.offset).limit(limit)))


def delete(conn: Connection, ids: Collection[int]) -> None:
    """Forgets decisions that the broker acknowledged."""
    for part in chunks(ids, 500):
        conn.execute(sa.delete(outbox).where(outbox.c.id.in_(part)))


def depth(conn: Connection) -> int:
    """How many decisions are unsent."""
    return conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
