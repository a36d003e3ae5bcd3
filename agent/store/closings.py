"""Closings: what people decided of items in the end, as counts at the time at which the part was seen.

By quarter hours everything is told apart; by hours only what a part was judged to be, and by days no lot: what a chart
of months sums grows no more with the closings then.

Only the decision that an item is closed with counts, never one that was undone, disagreed with or overridden: a false
call that a second person or an engineer found is no defect, and the other way round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Table

from agent.store.buckets import DAY, HOUR, Fine, day, hour, quarter
from agent.store.items import FLAGS, Item
from agent.store.rows import added, insert_sums
from agent.store.scopes import EVERYTHING, Scope
from agent.store.stretches import Stretch, stretches, window
from agent.store.tables import closing_day, closing_hour, closing_rollup

FLAGGED = "flagged"  # by the model that decides, drawn for the audit or not
SECOND = "second"  # flagged by a second model alone: its false calls are not those of the model that decides
AUDIT = "audit"  # drawn, and the model that decides passed it
INSPECTED = (FLAGGED, SECOND, AUDIT)  # kinds of closings whose frames have a verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """How many flagged parts were judged, how many of those were normal, and how many parts were defects at all.

    A part that the deciding model flagged and people judged normal is a false call, drawn for the audit or not. What it
    passed, drawn or flagged by a second model alone, is none.
    """

    flagged: int
    false_calls: int
    defects: int

    def __add__(self, other: Judged) -> Judged:
        return added(self, other)


NOBODY = Judged(0, 0, 0)


def add(conn: Connection, item: Item, decision: str, reason: str | None, delta: int) -> None:
    """Counts that an item was closed (`delta` 1), or is no longer (-1)."""
    kind = _kind(item)
    of = {"station_id": item.station_id, "product_id": item.product_id}
    lot = {"lot": item.lot or ""}
    how = {"kind": kind, "decision": decision, "reason": (reason or "") if decision == "defect" else ""}
    by = {"deployment_id": item.deployment_id or 0}
    _add(conn, closing_rollup, {"start": quarter(item.event_at), **of, **lot, **by, **how}, {"n": delta})
    _add(conn, closing_day, {"start": day(item.event_at), **of, **how}, {"n": delta})
    if kind in INSPECTED:
        flagged = delta * (kind == FLAGGED)
        judged = {
            "n_flagged": flagged, "n_false_calls": flagged * (decision == "normal"),
            "n_defects": delta * (decision == "defect"),
        }  # fmt: skip
        _add(conn, closing_hour, {"start": hour(item.event_at), **of, **lot}, judged)


def _kind(item: Item) -> str:
    if item.kind == FLAGGED and item.verdict == "pass":
        return SECOND
    return FLAGGED if item.kind == AUDIT and item.verdict in FLAGS else item.kind


def _add(conn: Connection, table: Table, key: Mapping[str, Any], sums: Mapping[str, int]) -> None:
    conn.execute(insert_sums(conn, table, tuple(key), tuple(sums)), [{**key, **sums}])


def counts(
    conn: Connection, since: datetime, until: datetime, scope: Scope = EVERYTHING
) -> dict[tuple[str, str, str], int]:
    """How many items of the window were closed how: by kind, decision and reason ('' but for defects)."""
    whole = stretches(since, until, closing_rollup, closing_day, DAY)
    found = Counter[tuple[str, str, str]]()
    for part in whole if scope.lot is None else [window(closing_rollup, since, until)]:
        row = part[0].c
        by = (row.kind, row.decision, row.reason)
        query = scope.within(sa.select(*by, sa.func.sum(row.n)), *part).group_by(*by)
        for kind, decision, reason, n in conn.execute(query):
            found[kind, decision, reason] += int(n)
    return {how: n for how, n in found.items() if n}


def judged(conn: Connection, since: datetime, until: datetime, by: str, scope: Scope = EVERYTHING) -> dict[Any, Judged]:
    """What was judged by a column of the sums, such as station_id or lot."""
    found: dict[Any, Judged] = {}
    for part in stretches(since, until, closing_rollup, closing_hour, HOUR):
        for key, one in _judged(conn, part, by, scope):
            found[key] = one + found.get(key, NOBODY)
    return found


def series(
    conn: Connection,
    since: datetime,
    until: datetime,
    bucket: Fine,
    scope: Scope = EVERYTHING,
    torn: Collection[datetime] = (),
) -> dict[datetime, Judged]:
    """What was judged over time, UTC. Arguments as `agent.store.trends.flag_series`; minutes are given by quarters."""
    hours = stretches(since, until, closing_rollup, closing_hour, HOUR, torn)
    parts = hours if bucket == "hour" else [window(closing_rollup, since, until)]
    return {start: one for part in parts for start, one in _judged(conn, part, "start", scope)}


def _judged(conn: Connection, part: Stretch, by: str, scope: Scope) -> Iterator[tuple[Any, Judged]]:
    table, row = part[0], part[0].c
    sums: list[sa.ColumnElement[Any]]
    only: list[sa.ColumnElement[bool]] = []
    if table is closing_hour:
        sums = [row.n_flagged, row.n_false_calls, row.n_defects]
    else:
        flagged = row.kind == FLAGGED
        told = (flagged, sa.and_(flagged, row.decision == "normal"), row.decision == "defect")
        sums, only = [sa.case((one, row.n), else_=0) for one in told], [row.kind.in_(INSPECTED)]
    query = scope.within(sa.select(row[by], *map(sa.func.sum, sums)), *part).where(*only).group_by(row[by])
    return ((key, Judged(*map(int, numbers))) for key, *numbers in conn.execute(query))
