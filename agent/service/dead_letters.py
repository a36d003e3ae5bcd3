"""Who may replay dead letters, and the record that they did. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, current, perform
from agent.store.dead_letters import REPLAY
from agent.store.engine import reading
from agent.store.users import User

LEAST = "engineer"


def require(engine: Engine, actor: User) -> None:
    """Lets the actor go on to publish: what is published cannot be taken back.

    Raises:
        PermissionDenied: the actor's role is too low.
    """
    with reading(engine) as conn:
        current(conn, actor, LEAST, REPLAY)


def replayed(
    engine: Engine, actor: User, letter_id: int, *, frame_id: str, station: str, product: str, key: str, now: datetime
) -> None:
    """Records that a dead letter was published again, which the log has acknowledged.

    Args:
        engine: the database.
        actor: an engineer or higher.
        letter_id: of the dead letter.
        frame_id: the new frame's.
        station: as the new frame names it.
        product: as the new frame names it.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
    """
    request = {"id": letter_id, "frame_id": frame_id, "station": station, "product": product}

    def work(_conn: Connection, _: User) -> Done:
        return Done({}, f"dead_letter:{letter_id}", request)

    perform(engine, actor, REPLAY, request, work, least=LEAST, key=key, now=now)
