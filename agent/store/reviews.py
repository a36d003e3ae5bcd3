"""Reviews, append-only, and the claims that keep two people off one item."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import insert, read
from agent.store.tables import claim, review, user


@dataclass(frozen=True, slots=True)
class Review:
    """What one person said of one item. `undo` takes back the last review that was not taken back before."""

    id: int
    item_id: int
    user_id: int
    user: str
    decision: str  # normal | defect | unsure | undo
    reason: str | None
    note: str | None
    created_at: datetime


def add(
    conn: Connection,
    item_id: int,
    user_id: int,
    decision: str,
    *,
    reason: str | None = None,
    note: str | None = None,
    now: datetime,
) -> int:
    """Adds a review and returns its id. The item's state is the caller's to change: `items.set_state`."""
    statement = sa.insert(review).values(
        item_id=item_id, user_id=user_id, decision=decision, reason=reason, note=note, created_at=now
    )
    return int(conn.execute(statement.returning(review.c.id)).scalar_one())


def of_item(conn: Connection, item_id: int) -> list[Review]:
    """The reviews of an item, oldest first."""
    return of_items(conn, [item_id])[item_id]


def of_items(conn: Connection, item_ids: Collection[int]) -> dict[int, list[Review]]:
    """The reviews of each of the items, oldest first; an empty list where there are none."""
    query = sa.select(*review.c, user.c.name.label("user")).join(user).order_by(review.c.id)
    found: dict[int, list[Review]] = defaultdict(list, {item_id: [] for item_id in item_ids})
    for row in conn.execute(query.where(review.c.item_id.in_(item_ids))):
        found[row.item_id].append(read(Review, row))
    return found


def standing(reviews: Iterable[Review]) -> list[Review]:
    """The reviews that were not taken back, oldest first; the last one gives the item its state."""
    stack: list[Review] = []
    for one in reviews:
        if one.decision != "undo":
            stack.append(one)
        elif stack:
            stack.pop()
    return stack


def claim_item(conn: Connection, item_id: int, user_id: int, until: datetime, now: datetime) -> bool:
    """Takes or prolongs an item's claim; False while someone else holds it."""
    statement = insert(conn, claim).values(item_id=item_id, user_id=user_id, expires_at=until)
    statement = statement.on_conflict_do_update(
        index_elements=["item_id"],
        set_={"user_id": statement.excluded.user_id, "expires_at": statement.excluded.expires_at},
        where=sa.or_(claim.c.user_id == user_id, claim.c.expires_at <= now),
    )
    return conn.execute(statement.returning(claim.c.item_id)).scalar_one_or_none() is not None


def claimed_by_other(conn: Connection, item_id: int, user_id: int, now: datetime) -> str | None:
    """The name of someone else who holds the item's claim."""
    query = (
        sa.select(user.c.name)
        .join(claim, claim.c.user_id == user.c.id)
        .where(claim.c.item_id == item_id, claim.c.user_id != user_id, claim.c.expires_at > now)
    )
    return conn.execute(query).scalar_one_or_none()


def release(conn: Connection, item_id: int, user_id: int) -> None:
    """Gives the item's claim back, if this user holds it."""
    conn.execute(sa.delete(claim).where(claim.c.item_id == item_id, claim.c.user_id == user_id))
