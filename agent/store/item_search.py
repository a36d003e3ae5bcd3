"""Items by what is known of them.

Audit items that nobody has decided are in no search, and what is closed is in none while another view of its part
waits: see `agent.store.items`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import items
from agent.store.items import FLAGS, Item
from agent.store.tables import deployment, item, review

Place = tuple[datetime, int]  # event_at, id
FLAGGED = "flagged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which items; None: any. What a verdict, a score or a reviewer tells is found only once the part is judged.

    Attributes:
        since: seen at that time or later.
        until: seen before it.
        state: open, escalated or closed.
        decision: normal or defect, that closed it.
        reason: that the deciding review gave; only of defects.
        verdict: of the model: pass, review or reject; only of judged parts. `FLAGGED`: judged ones with review or
            reject, and what waits because a model flagged it, whichever.
        least: severity at least; only of judged parts.
        most: severity at most; only of judged parts.
        version_id: the model version that decided.
        reviewer_id: whose review closed it.
    """

    product_id: int | None = None
    station_id: int | None = None
    lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    state: str | None = None
    decision: str | None = None
    reason: str | None = None
    verdict: str | None = None
    least: float | None = None
    most: float | None = None
    version_id: int | None = None
    reviewer_id: int | None = None

    @property
    def judged(self) -> bool:
        """Whether it asks for what only a judged part tells."""
        return self.verdict not in (None, FLAGGED) or self.least is not None or self.most is not None

    def conditions(self) -> Sequence[sa.ColumnElement[bool]]:
        """As SQL."""
        row = item.c
        flagged = self.verdict == FLAGGED
        waits = sa.and_(row.state != "closed", row.kind == FLAGGED if flagged else row.kind != "audit")
        told = sa.and_(row.state == "closed", ~items.part_waits(row.product_id, row.serial))
        told = sa.and_(told, row.verdict.in_(FLAGS)) if flagged else told
        found: list[sa.ColumnElement[bool]] = [told if self.judged else sa.or_(waits, told)]
        same = (
            (row.product_id, self.product_id), (row.station_id, self.station_id), (row.lot, self.lot),
            (row.state, self.state), (row.decision, self.decision), (row.verdict, None if flagged else self.verdict),
        )  # fmt: skip
        found += [column == value for column, value in same if value is not None]
        found += [row.event_at >= self.since] if self.since else []
        found += [row.event_at < self.until] if self.until else []
        found += [row.severity >= self.least] if self.least is not None else []
        found += [row.severity <= self.most] if self.most is not None else []
        if self.version_id is not None:
            decided = sa.select(deployment.c.id).where(deployment.c.model_version_id == self.version_id)
            found.append(row.deployment_id.in_(decided))
        if self.reason is not None:
            found += [row.decision == "defect", self._closed_by(review.c.reason == self.reason)]
        if self.reviewer_id is not None:
            found += [self._closed_by(review.c.user_id == self.reviewer_id)]
        return found

    @staticmethod
    def _closed_by(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        """Whether the last review of a closed item holds the condition: it is the one that closed it."""
        later = review.alias()
        last = ~sa.exists().where(later.c.item_id == review.c.item_id, later.c.id > review.c.id)
        closing = sa.exists().where(review.c.item_id == item.c.id, last, condition)
        return sa.and_(item.c.state == "closed", closing)


def search(conn: Connection, wanted: Wanted, limit: int, before: Place | None = None) -> list[Item]:
    """The items, the newest part first.

    Args:
        conn: any transaction.
        wanted: which.
        limit: at most so many.
        before: only parts before that place: where the last page ended.
    """
    row = item.c
    conditions: list[Any] = list(wanted.conditions())
    if before is not None:
        place = sa.tuple_(sa.literal(before[0], row.event_at.type), sa.literal(before[1], row.id.type))
        conditions += [row.event_at <= before[0], sa.tuple_(row.event_at, row.id) < place]
    return items.of(conn, *conditions, order=(row.event_at.desc(), row.id.desc()), limit=limit)


def count(conn: Connection, wanted: Wanted, most: int = 10_000) -> int:
    """How many there are; `most` where there are more."""
    found = sa.select(item.c.id).where(item.c.kind != "teach", *wanted.conditions()).limit(most).subquery()
    return int(conn.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())


def open_ones(conn: Connection, wanted: Wanted, ids: Collection[int], limit: int) -> list[Item]:
    """Those of these ids that still match and that nobody has closed, the newest part first."""
    row = item.c
    conditions = (row.id.in_(list(ids)), row.state != "closed", *wanted.conditions())
    return items.of(conn, *conditions, order=(row.event_at.desc(), row.id.desc()), limit=limit)
