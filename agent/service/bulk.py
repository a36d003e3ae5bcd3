"""One decision on many items at once: one cause is one action. Never on audit items, which measure the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from agent.service import Invalid, reviews
from agent.service.ranks import Refused
from agent.service.reviews import Outcome
from agent.settings import Samples
from agent.store import items
from agent.store.drawing import Drawing
from agent.store.engine import reading
from agent.store.errors import Conflict, NotFound
from agent.store.users import User

MOST = 500  # items at once: a person answers for each
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Bulk:
    """What came of it: the items that were done, each with the review that was made, and why the others were not.

    `live` is the number of the newest live model that learnt from a sample which an undo took back.
    """

    reviews: Mapping[int, int]
    refused: tuple[tuple[int, str], ...]
    live: int | None = None

    @property
    def done(self) -> tuple[int, ...]:
        """The items that were done."""
        return tuple(self.reviews)


def decide(
    engine: Engine,
    actor: User,
    item_ids: Sequence[int],
    decision: str,
    reason: str | None = None,
    *,
    rules: Samples = reviews.DEFAULTS,
    double: float = 0.0,
    drawn: Drawing | None = None,
    key: str,
    now: datetime,
    told: Told = lambda _: None,
) -> Bulk:
    """Records the same decision on each, as `reviews.decide` does, each in a transaction of its own.

    All reviews are of the same moment, by which they are found again as one act (`agent.store.reviews.past`). A retry
    with the same key goes on where the first try ended.

    `told` hears after each item how many are done.

    Raises:
        Invalid: there are too many at once, or the decision or its reason cannot be used on any.
    """
    if len(item_ids) > MOST:
        raise Invalid("{n} items: at most {most} at once", n=len(item_ids), most=MOST)
    reviews.check(decision, reason)
    with reading(engine) as conn:
        audited = items.drawn(conn, item_ids)

    def one(item_id: int) -> Outcome:
        if item_id in audited:
            raise Conflict("item {item_id} was drawn for the audit: it is judged by itself", item_id=item_id)
        return reviews.decide(
            engine, actor, item_id, decision, reason,
            rules=rules, double=double, drawn=drawn, key=f"{key}:{item_id}", now=now,
        )  # fmt: skip

    return _each(item_ids, one, told)


def undo(
    engine: Engine, actor: User, made: Mapping[int, int], *, key: str, now: datetime, told: Told = lambda _: None
) -> Bulk:
    """Takes the actor's own reviews back, as `reviews.undo` does: by item, where nobody has judged it since."""

    def one(item_id: int) -> Outcome:
        return reviews.undo(
            engine, actor, item_id, own=True, hold=False, expected=made[item_id], key=f"{key}:{item_id}", now=now
        )

    return _each(list(made), one, told)


def _each(item_ids: Sequence[int], work: Callable[[int], Outcome], told: Told) -> Bulk:
    done, refused = dict[int, Outcome](), []
    for n, item_id in enumerate(item_ids, 1):
        try:
            done[item_id] = work(item_id)
        except (Refused, Conflict, NotFound) as error:
            refused.append((item_id, error.phrase))
        told(n)
    made = {item_id: outcome.review_id or 0 for item_id, outcome in done.items()}
    return Bulk(made, tuple(refused), max((one.live for one in done.values() if one.live), default=None))
