"""Claims: leases on items, so that two people never look at one at a time. One that ended is anybody's.

Where hosts' clocks are far apart, two people may: the item's state then lets one of them decide.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.items import for_user, of_queue, places
from agent.store.rows import insert
from agent.store.tables import claim, item, user

LONGEST = timedelta(minutes=10)  # a claim that ends later is nobody's: the clock that wrote it was ahead


@dataclass(frozen=True, slots=True)
class Desk:
    """Whose claims, and on which part of the queue.

    Attributes:
        user_id: who looks.
        product_id, station_id: only of this product, of this station.
        escalated: with the escalated items ahead of the open ones, as an engineer sees them.
        shown: the item on screen.
        back: items that came back there by an undo, the last one first; whatever their product and station.
        known: whether the desk has said so since it was opened; before that nothing is given back.
    """

    user_id: int
    product_id: int | None = None
    station_id: int | None = None
    escalated: bool = False
    shown: int | None = None
    back: tuple[int, ...] = ()
    known: bool = True


def held(conn: Connection, desk: Desk) -> dict[int, datetime]:
    """When each of the user's claims ends that are still of use at this desk, by item; some may have ended.

    What is on screen comes first, then what came back by an undo, then the others in the queue's order.
    """
    query = sa.select(claim.c.item_id, claim.c.expires_at).where(claim.c.user_id == desk.user_id)
    ends = {row.item_id: row.expires_at for row in conn.execute(query)}
    # In two steps: joined, SQLite begins with all open items.
    if not ends:
        return {}
    query = sa.select(item.c.id).order_by(item.c.state != "escalated", ~item.c.watched, item.c.id)
    usable = conn.execute(_at(query.where(item.c.id.in_(list(ends))), desk)).scalars().all()
    back = ends.keys() & set(desk.back)
    anywhere = replace(desk, product_id=None, station_id=None)
    came = conn.execute(_at(query.where(item.c.id.in_(back)), anywhere)).scalars().all() if back else ()
    first = [one for one in (desk.shown, *desk.back) if one in usable or one in came]
    return {one: ends[one] for one in (*first, *usable)}


def take(conn: Connection, desk: Desk, *, limit: int, until: datetime, now: datetime) -> None:
    """Prolongs the user's claims, gives back those of no use here, and takes the next items' until there are `limit`.

    Of more than `limit` and one beside those of `desk.back`, the last ones (see `held`) are given back too.

    In the queue's order (`items.places`). What somebody else claims in the same moment is passed over, not waited for.
    """
    kept = list(held(conn, desk))[: limit + 1 + len(desk.back)]
    mine = claim.c.user_id == desk.user_id
    if desk.known:
        conn.execute(sa.delete(claim).where(mine, claim.c.item_id.not_in(kept)))
    prolonged = sa.update(claim).where(mine, claim.c.item_id.in_(kept)).values(expires_at=until)
    count = conn.execute(prolonged).rowcount if kept else 0
    for state, watched in places(escalated=desk.escalated):
        while count < limit:
            found = conn.execute(_free(desk, state, watched, kept, now).limit(limit - count)).scalars().all()
            if not found:
                break
            count += sum(hold(conn, one, desk.user_id, until, now) for one in found)
            kept += found


def _free(desk: Desk, state: str, watched: bool, kept: Collection[int], now: datetime) -> sa.Select[Any]:
    """The items of a place that nobody else has claimed, in the queue's order; none of them waits for a lock."""
    other = sa.exists().where(claim.c.item_id == item.c.id, claim.c.user_id != desk.user_id, _lasts(now))
    query = sa.select(item.c.id).where(item.c.state == state, item.c.watched.is_(watched), ~other)
    query = _at(query, desk).where(item.c.id.not_in(kept)) if kept else _at(query, desk)
    return query.order_by(item.c.id).with_for_update(skip_locked=True, of=item)


def _at(query: sa.Select[Any], desk: Desk) -> sa.Select[Any]:
    return for_user(of_queue(query, desk.product_id, desk.station_id), desk.user_id, escalated=desk.escalated)


def hold(conn: Connection, item_id: int, user_id: int, until: datetime, now: datetime) -> bool:
    """Takes or prolongs an item's claim; False while someone else holds it."""
    statement = insert(conn, claim).values(item_id=item_id, user_id=user_id, expires_at=until)
    statement = statement.on_conflict_do_update(
        index_elements=["item_id"],
        set_={"user_id": statement.excluded.user_id, "expires_at": statement.excluded.expires_at},
        where=sa.or_(claim.c.user_id == user_id, ~_lasts(now)),
    )
    return conn.execute(statement.returning(claim.c.item_id)).scalar_one_or_none() is not None


def _lasts(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(claim.c.expires_at > now, claim.c.expires_at <= now + LONGEST)


def held_by_other(conn: Connection, item_id: int, user_id: int, now: datetime) -> str | None:
    """The name of someone else who holds the item's claim."""
    query = (
        sa.select(user.c.name)
        .join(claim, claim.c.user_id == user.c.id)
        .where(claim.c.item_id == item_id, claim.c.user_id != user_id, _lasts(now))
    )
    return conn.execute(query).scalar_one_or_none()


def clear(conn: Connection, item_id: int) -> None:
    """Ends an item's claim, whoever has it. Lock the item first."""
    conn.execute(sa.delete(claim).where(claim.c.item_id == item_id))


def give_back(conn: Connection, user_id: int) -> None:
    """Ends all claims of a user."""
    conn.execute(sa.delete(claim).where(claim.c.user_id == user_id))
