"""The outbox: decisions committed with their frames, and sent afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.frame import StreamKey
from agent.store.rows import columns, insert_rows, listed, names, read_all
from agent.store.tables import outbox, stream


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


def batch(conn: Connection, stream_id: int, partition: int, start: int, limit: int) -> list[Decision]:
    """The first unsent decisions of a partition from offset `start` on, in offset order."""
    given = {"of_stream": stream_id, "of_partition": partition, "start": start, "most": limit}
    return read_all(Decision, conn.execute(_BATCH, given))


def left_behind(conn: Connection, topic: str, stream_id: int) -> dict[tuple[int, int], StreamKey]:
    """The other streams of that topic with unsent decisions, by id and partition, oldest first."""
    query = sa.select(
        stream.c.id, outbox.c.partition, stream.c.cluster_id, stream.c.topic_id, stream.c.topic
    ).distinct()
    query = query.join_from(stream, outbox).where(stream.c.topic == topic, stream.c.id != stream_id)
    query = query.order_by(stream.c.id, outbox.c.partition)
    return {(row.id, row.partition): StreamKey(row.cluster_id, row.topic_id, row.topic) for row in conn.execute(query)}


def delete(conn: Connection, stream_id: int, partition: int, end: int) -> None:
    """Forgets the decisions of a partition before offset `end`: the broker acknowledged all of them.

    By their offsets, which are never used again: SQLite gives the id of a deleted row to a new one, which another
    agent that still sends the deleted one must not take away.
    """
    conn.execute(_DELETE, {"of_stream": stream_id, "of_partition": partition, "end": end})


# Built once: building them takes longer than running them.
_OURS = (outbox.c.stream_id == sa.bindparam("of_stream"), outbox.c.partition == sa.bindparam("of_partition"))
_BATCH = (
    sa.select(*columns(outbox, Decision))
    .where(*_OURS, outbox.c.offset >= sa.bindparam("start"))
    .order_by(outbox.c.offset)
    .limit(sa.bindparam("most"))
)
_DELETE = sa.delete(outbox).where(*_OURS, outbox.c.offset < sa.bindparam("end"))


def depth(conn: Connection) -> int:
    """How many decisions are unsent."""
    return conn.execute(sa.select(sa.func.count()).select_from(outbox)).scalar_one()
