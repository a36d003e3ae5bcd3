"""Decisions made again: the newest result of each, beside the inspection that it was compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import insert, values
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


def of_records(conn: Connection, records: Collection[Record]) -> Mapping[Record, Sequence[Replay]]:
    """What came of each record's decision made again, the newest first; of those that were made again."""
    if not records:
        return {}
    row = replay.c
    key = [row[name] for name in KEY[:-1]]
    query = (
        sa.select(
            *key, row.live, row.agreement, row.verdict, row.reason, row.score, model_version.c.number, row.engine,
            user.c.name.label("user"), row.at,
        )
        .outerjoin(deployment, deployment.c.id == row.deployment_id)
        .outerjoin(model_version, model_version.c.id == deployment.c.model_version_id)
        .outerjoin(user, user.c.id == row.by)
        .where(row.event_at.in_({event_at for event_at, *_ in records}))  # of the key SQLite searches this part alone
        .order_by(row.at.desc(), row.live)
    )  # fmt: skip
    shown = [field.name for field in fields(Replay)]
    found: dict[Record, list[Replay]] = {}
    for at, stream_id, partition, offset, *rest in conn.execute(query):
        found.setdefault((at, stream_id, partition, offset), []).append(Replay(**dict(zip(shown, rest, strict=True))))
    return {record: found[record] for record in records if record in found}
