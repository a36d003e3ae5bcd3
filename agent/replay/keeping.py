"""What came of decisions made again, kept for the page of the part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Engine

from agent.replay.comparing import Replayed
from agent.store import replays
from agent.store.engine import writing
from agent.store.replays import NewReplay

MANY = 64  # kept in one transaction


def keeping(
    engine: Engine, decisions: Iterable[Replayed], *, live: bool, by: int | None, clock: Callable[[], datetime]
) -> Iterator[Replayed]:
    """Passes decisions on, and keeps those that were compared: one whose frame is gone says nothing new.

    Args:
        engine: the database.
        decisions: made again.
        live: by what is live now.
        by: the user who asks, where that is known.
        clock: tells when.

    Raises:
        Unreachable: the database is away or busy.
    """
    found: list[NewReplay] = []
    for one in decisions:
        yield one
        if one.compared:
            found.append(_row(one, live, by, clock()))
        if len(found) == MANY:
            _keep(engine, found)
            found.clear()
    _keep(engine, found)


def _keep(engine: Engine, found: Sequence[NewReplay]) -> None:
    if found:
        with writing(engine) as conn:
            replays.keep(conn, found)


def _row(one: Replayed, live: bool, by: int | None, at: datetime) -> NewReplay:
    assert one.now is not None
    before, now = one.before, one.now
    return NewReplay(
        event_at=before.event_at, stream_id=before.stream_id, partition=before.partition, offset=before.offset,
        live=live, agreement=str(one.agreement), verdict=now.verdict, reason=now.reason, score=now.score,
        deployment_id=now.deployment_id, engine=one.engine, by=by, at=at,
    )  # fmt: skip
