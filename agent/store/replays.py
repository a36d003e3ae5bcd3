"""Decisions made again: the newest result of each, beside the inspection that it was compared with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import insert, read_all, values
from agent.store.tables import deployment, model_version, replay, user

KEY = ("event_at", "stream_id", "partition", "offset", "live")
Record = tuple[datetime, int, int, int]  # event time, stream id, partition, offset


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReplay:
    """What came of a decision made again.

    Attributes:
        live: made by what was live then, and not by what had decided.
        agreement: with the recorded one: identical, within_tolerance, same_verdict or different.
        engine: the fingerprint of what scored; None where the product has no model.
        by: the user who asked; None where none is known.
    """

    event_at: datetime
    stream_id: int
    partition: int
    offset: int
    live: bool
    agreement: str
    verdict: str
    reason: str | None
    score: float | None
    deployment_id: int | None
    engine: str | None
    by: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """As a page shows it; see `NewReplay`."""

    live: bool
    agreement: str
    verdict: str
    reason: str | None
    score: float | None
    number: int | None  # of the version that decided
    engine: str | None
    user: str | None
    at: datetime


def keep(conn: Connection, rows: Collection[NewReplay]) -> None:
    """Keeps these, each in the place of what the same question gave before."""
    if not rows:
        return
    statement = insert(conn, replay)
    found = {name: statement.excluded[name] for name in replay.c.keys() if name not in KEY}  # noqa: SIM118
    statement = statement.on_conflict_do_update(index_elements=list(KEY), set_=found)
    conn.execute(statement, [values(one) for one in sorted(rows, key=attrgetter(*KEY))])


def of_record(conn: Connection, record: Record) -> Sequence[Replay]:
    """What came of one record's decision made again, the newest first."""
    row = replay.c
    query = (
        sa.select(
            row.live, row.agreement, row.verdict, row.reason, row.score, model_version.c.number, row.engine,
            user.c.name.label("user"), row.at,
        )
        .outerjoin(deployment, deployment.c.id == row.deployment_id)
        .outerjoin(model_version, model_version.c.id == deployment.c.model_version_id)
        .outerjoin(user, user.c.id == row.by)
        .where(*(row[name] == value for name, value in zip(KEY, record, strict=False)))
        .order_by(row.at.desc(), row.live)
    )  # fmt: skip
    return read_all(Replay, conn.execute(query))
