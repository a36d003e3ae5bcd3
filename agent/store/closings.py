"""Closings: what people decided of items in the end, as counts at the quarter hour in which the part was seen.

Only the decision that an item is closed with counts, never one that was undone, disagreed with or overridden: a false
call that a second person or an engineer found is no defect, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.buckets import quarter
from agent.store.items import Item
from agent.store.rows import added, insert_sums
from agent.store.scopes import EVERYTHING, Scope
from agent.store.tables import closing_rollup

FLAGGED = "flagged"
SECOND = "second"  # flagged by a second model alone: its false calls are not those of the model that decides
INSPECTED = (FLAGGED, SECOND, "audit")  # kinds of closings whose frames have a verdict
KEY = ("start", "station_id", "product_id", "lot", "deployment_id", "kind", "decision", "reason")


@dataclass(frozen=True, slots=True)
class Judged:
    """How many flagged parts were judged, how many of those were normal, and how many parts were defects at all.

    A part that the deciding model flagged and people judged normal is a false call; an audited one, or one that a
    second model alone flagged, is none.
    """

    flagged: int
    false_calls: int
    defects: int

    def __add__(self, other: Judged) -> Judged:
        return added(self, other)


def add(conn: Connection, item: Item, decision: str, reason: str | None, delta: int) -> None:
    """Counts that an item was closed (`delta` 1), or is no longer (-1)."""
    kind = SECOND if (item.kind, item.verdict) == (FLAGGED, "pass") else item.kind
    key = (
        quarter(item.event_at), item.station_id, item.product_id, item.lot or "", item.deployment_id or 0, kind,
        decision, (reason or "") if decision == "defect" else "",
    )  # fmt: skip
    conn.execute(insert_sums(conn, closing_rollup, KEY, ("n",)), [dict(zip((*KEY, "n"), (*key, delta), strict=True))])


def counts(
    conn: Connection, since: datetime, until: datetime, scope: Scope = EVERYTHING
) -> dict[tuple[str, str, str], int]:
    """How many items of the window were closed how: by kind, decision and reason ('' but for defects)."""
    row = closing_rollup.c
    by = (row.kind, row.decision, row.reason)
    query = scope.within(sa.select(*by, sa.func.sum(row.n)), closing_rollup, since, until).group_by(*by)
    return {(kind, decision, reason): int(n) for kind, decision, reason, n in conn.execute(query) if n}


def judged(conn: Connection, since: datetime, until: datetime, by: str, scope: Scope = EVERYTHING) -> dict[Any, Judged]:
    """What was judged by a column of the rollup, such as station_id, lot or start (of quarters, UTC)."""
    row = closing_rollup.c

    def count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((condition, row.n), else_=0))

    flagged = row.kind == FLAGGED
    sums = (count(flagged), count(sa.and_(flagged, row.decision == "normal")), count(row.decision == "defect"))
    query = scope.within(sa.select(row[by], *sums), closing_rollup, since, until).where(row.kind.in_(INSPECTED))
    return {key: Judged(*map(int, numbers)) for key, *numbers in conn.execute(query.group_by(row[by]))}
