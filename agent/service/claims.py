"""The next items of the queue, for one person alone. Leases, so there is neither a key nor an audit event."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Engine

from agent.service.acts import current
from agent.service.ranks import may
from agent.store import claims, items
from agent.store.claims import Desk
from agent.store.engine import reading, writing
from agent.store.items import Item
from agent.store.users import User

SPAN = timedelta(minutes=2)  # a page that is open renews them well before; a closed one gives them back by this


def take(
    engine: Engine,
    actor: User,
    *,
    product_id: int | None = None,
    station_id: int | None = None,
    limit: int = 10,
    shown: int | None = None,
    back: Iterable[int] = (),
    known: bool = True,
    now: datetime,
    span: timedelta = SPAN,
) -> list[Item]:
    """The next items, which nobody else is handed until `now + span`: call it again before that.

    Watched ones come first, then the oldest; an engineer gets the escalated ones ahead of these. What the actor holds
    already stays theirs, the item on screen before all others; what they hold elsewhere in the queue is given back,
    except for what came back by an undo. Nothing is written while half of the time is left and nothing is missing.

    Args:
        engine: the database.
        actor: an operator or higher.
        product_id: only of this product.
        station_id: only of this station.
        limit: how many to hold; an item that was taken back by `reviews.undo` may be one more, and those of `back`.
        shown: the item that the actor has on screen.
        back: items that `reviews.undo` brought back to them, the last one first.
        known: whether the page has said `shown` and `back` since it was loaded; before that nothing is given back.
        now: the time.
        span: how long the claims last.

    Raises:
        PermissionDenied: the actor's role is too low.
    """
    desk = Desk(actor.id, product_id, station_id, may(actor, "engineer"), shown, tuple(back), known)
    with reading(engine) as conn:
        current(conn, actor, "operator", "review.claim")
        held = claims.held(conn, desk)
        if len(held) >= limit and min(held.values()) > now + span / 2:
            return items.some(conn, held)
    with writing(engine) as conn:
        claims.take(conn, desk, limit=limit, until=now + span, now=now)
        return items.some(conn, claims.held(conn, desk))


def give_back(engine: Engine, actor: User) -> None:
    """Ends the actor's claims: they look at nothing any more."""
    with writing(engine) as conn:
        claims.give_back(conn, actor.id)
