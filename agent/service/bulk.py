"""One decision on many items at once: one cause is one action. Never on audit items, which measure the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from agent.service import Invalid, reviews
from agent.service.ranks import Refused
from agent.settings import Samples
from agent.store import items
from agent.store.engine import reading
from agent.store.errors import Conflict, NotFound
from agent.store.users import User

MOST = 500  # items at once: a person answers for each


@dataclass(frozen=True, slots=True)
class Bulk:
    """What came of it: the items that were done, and why the others were not."""

    done: tuple[int, ...]
    refused: tuple[tuple[int, str], ...]


def decide(
    engine: Engine,
    actor: User,
    item_ids: Sequence[int],
    decision: str,
    reason: str | None = None,
    *,
    rules: Samples = reviews.DEFAULTS,
    double: float = 0.0,
    key: str,
    now: datetime,
) -> Bulk:
    """Records the same decision on each, as `reviews.decide` does, each in a transaction of its own.

    A retry with the same key goes on where the first try ended.

    Raises:
        Invalid: there are too many at once, or the decision or its reason cannot be used on any.
    """
    if len(item_ids) > MOST:
        raise Invalid(f"{len(item_ids)} items: at most {MOST} at once")
    reviews.check(decision, reason)
    with reading(engine) as conn:
        drawn = items.drawn(conn, item_ids)

    def one(item_id: int) -> None:
        if item_id in drawn:
            raise Conflict(f"item {item_id} was drawn for the audit: it is judged by itself")
        reviews.decide(
            engine, actor, item_id, decision, reason, rules=rules, double=double, key=f"{key}:{item_id}", now=now
        )

    return _each(item_ids, one)


def undo(engine: Engine, actor: User, item_ids: Sequence[int], *, key: str, now: datetime) -> Bulk:
    """Takes back the last review of each where it is the actor's own, as `reviews.undo` does."""

    def one(item_id: int) -> None:
        reviews.undo(engine, actor, item_id, own=True, hold=False, key=f"{key}:{item_id}", now=now)

    return _each(item_ids, one)


def _each(item_ids: Sequence[int], work: Callable[[int], object]) -> Bulk:
    done, refused = [], []
    for item_id in item_ids:
        try:
            work(item_id)
            done.append(item_id)
        except (Refused, Conflict, NotFound) as error:
            refused.append((item_id, str(error)))
    return Bulk(tuple(done), tuple(refused))
