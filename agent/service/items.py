"""Keeping the evidence of items. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, perform
from agent.store import items
from agent.store.errors import Conflict
from agent.store.users import User


def pin(engine: Engine, actor: User, item_id: int, *, key: str, now: datetime) -> None:
    """Keeps an item's evidence for good, whatever retention says.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such item.
        Conflict: it is pinned already, or its evidence is no longer kept.
    """
    _set(engine, actor, item_id, True, key, now)


def unpin(engine: Engine, actor: User, item_id: int, *, key: str, now: datetime) -> None:
    """Leaves an item's evidence to retention again.

    Raises:
        PermissionDenied, NotFound: as `pin`.
        Conflict: it is not pinned.
    """
    _set(engine, actor, item_id, False, key, now)


def _set(engine: Engine, actor: User, item_id: int, pinned: bool, key: str, now: datetime) -> None:
    def work(conn: Connection, _: User) -> Done:
        item = items.lock(conn, item_id)
        if item.released_at is not None:
            raise Conflict("the evidence of item {item_id} is no longer kept", item_id=item_id)
        if item.pinned == pinned:
            if pinned:
                raise Conflict("item {item_id} is pinned already", item_id=item_id)
            raise Conflict("item {item_id} is not pinned", item_id=item_id)
        items.set_pinned(conn, item_id, pinned)
        return Done({}, f"item:{item_id}", {})

    action = "item.pin" if pinned else "item.unpin"
    perform(engine, actor, action, {"item_id": item_id}, work, least="engineer", key=key, now=now)
