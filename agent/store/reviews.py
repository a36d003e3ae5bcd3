"""Reviews: what people say of items, append-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import read
from agent.store.scopes import EVERYTHING, Scope
from agent.store.tables import item, review, user

LOOKED_AT = 2000  # reviews that one query for a page of them looks at, at most


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
    state: str | None  # of the item after it: open | escalated | closed; None: an undo
    created_at: datetime


def add(
    conn: Connection,
    item_id: int,
    user_id: int,
    decision: str,
    *,
    reason: str | None = None,
    note: str | None = None,
    state: str | None = None,
    now: datetime,
) -> int:
    """Adds a review and returns its id. The item's state after it is the caller's to change: `items.set_state`."""
    statement = sa.insert(review).values(
        item_id=item_id, user_id=user_id, decision=decision, reason=reason, note=note, state=state, created_at=now
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the second of two people, who did not know of the first, said the same: normal or defect.

    Attributes:
        pairs: items that two people judged.
        agreed: those of them where both said the same; an unsure second one did not.
    """

    pairs: int
    agreed: int

    @property
    def rate(self) -> float | None:
        """Their share, 0 .. 1; None without pairs."""
        return self.agreed / self.pairs if self.pairs else None


def agreement(conn: Connection, since: datetime, until: datetime, scope: Scope = EVERYTHING) -> Agreement:
    """How two people agreed on parts seen from `since` on and before `until`. What was taken back says nothing."""
    row = item.c
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(sa.case((row.agreed, 1), else_=0)), 0))
    query = query.where(row.agreed.is_not(None), row.event_at >= since, row.event_at < until, *scope.of(item))
    return Agreement(*map(int, conn.execute(query).one()))


@dataclass(frozen=True, slots=True)
class Past:
    """A page of what one person did: newest first, and the id that the older ones lie before; None: there are none.

    An act is one review, or those that one decision on many items made, the newest first.
    """

    acts: Sequence[Sequence[Review]]
    before: int | None


def past(conn: Connection, user_id: int, since: datetime, limit: int, before: int | None = None) -> Past:
    """The user's newest reviews that nothing came after, act by act: those they may take back, newest first.

    Not of parts to teach a product from, and of none whose evidence was let go. A page costs the same however much they
    ever said, and may hold fewer than `limit`, even none, though there are older ones. Reviews that say the same at the
    same moment are one act: `agent.service.bulk` writes them so, and no two presses share a microsecond.

    Args:
        conn: any transaction.
        user_id: whose.
        since: none before it.
        limit: at most so many acts.
        before: `Past.before` of the page of newer ones.
    """
    row, found = review.c, dict[tuple[datetime, str, str | None], list[Review]]()
    mine = sa.select(row.id, row.item_id, row.created_at, item.c.kind, item.c.released_at).join(item)
    mine = mine.where(row.user_id == user_id).order_by(row.id.desc())
    looks = 2 * limit
    while looks <= LOOKED_AT:
        query = mine if before is None else mine.where(row.id < before)
        rows = conn.execute(query.limit(looks)).all()
        said = of_items(conn, {one.item_id for one in rows})
        last = {stack[-1].id: stack[-1] for stack in map(standing, said.values()) if stack}
        for one in rows:
            if one.created_at < since:  # ids are in the order of time
                return Past([*found.values()], None)
            if one.id in last and one.kind != "teach" and one.released_at is None:
                act = (one.created_at, last[one.id].decision, last[one.id].reason)
                if act not in found and len(found) == limit:
                    return Past([*found.values()], before)
                found.setdefault(act, []).append(last[one.id])
            before = one.id
        if len(rows) < looks:
            return Past([*found.values()], None)
        looks *= 2
    return Past([*found.values()], before)
