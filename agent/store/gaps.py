"""Data gaps: offsets that the log lost before this installation read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read, read_all
from agent.store.tables import data_gap, stream


@dataclass(frozen=True, slots=True)
class Gap:
    """Reading went on at `to_offset` where `from_offset` was expected.

    `kind`: below_start, the log begins later; beyond_end, it is another one; truncated, it was cut and written anew.
    """

    id: int
    stream_id: int
    partition: int
    from_offset: int
    to_offset: int
    kind: str
    created_at: datetime


def add(
    conn: Connection, stream_id: int, partition: int, from_offset: int, to_offset: int, kind: str, now: datetime
) -> None:
    """Records a gap."""
    conn.execute(
        sa.insert(data_gap).values(
            stream_id=stream_id,
            partition=partition,
            from_offset=from_offset,
            to_offset=to_offset,
            kind=kind,
            created_at=now,
        )
    )


def found_at(conn: Connection, topic: str, partition: int, now: datetime) -> Gap | None:
    """The gap of that topic's partition that was recorded with just this time; None where none was."""
    row = data_gap.c
    query = sa.select(*columns(data_gap, Gap)).join(stream)
    query = query.where(stream.c.topic == topic, row.partition == partition, row.created_at == now)
    found = conn.execute(query.order_by(row.id.desc()).limit(1)).one_or_none()
    return read(Gap, found) if found else None


def recent(conn: Connection, limit: int = 50) -> list[Gap]:
    """The newest ones, newest first."""
    return read_all(Gap, conn.execute(sa.select(*columns(data_gap, Gap)).order_by(data_gap.c.id.desc()).limit(limit)))
