"""Flagged parts that were drawn for the audit too are closed as flagged ones, whenever they were closed.

Revision ID: 0033
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.pieces import UTC_TIME, cut

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

PLACE = ("start", "station_id", "product_id", "lot", "deployment_id")
HOW = ("kind", "decision", "reason")
KINDS = ("flagged", "audit")
JUDGED = sa.text("""
    SELECT event_at, station_id, product_id, lot, deployment_id, kind, verdict IN ('review', 'reject') AS chosen,
    CASE WHEN state = 'closed' THEN decision END AS decision, (
        SELECT reason FROM review WHERE review.item_id = item.id AND review.decision = 'defect'
        ORDER BY review.id DESC LIMIT 1
    ) AS reason
    FROM item WHERE kind = 'audit' OR (kind = 'flagged' AND verdict <> 'pass' AND state = 'closed')
""").columns(event_at=UTC_TIME)
COUNTS = sa.table("closing_rollup", sa.column("start", UTC_TIME), *map(sa.column, (*PLACE[1:], *HOW, "n")))
Place = tuple[Any, ...]


def upgrade() -> None:
    """Counts them anew where they are, and their days and hours by what that changes.

    What was closed before the program counted them as flagged was counted as audited, and what was closed before and
    undone since was taken from the flagged ones, where it never was. Either way flagged and audited together are right:
    where the items say another sum, some are gone, nothing tells of which kind they were, and the count stays.
    """
    for place, of_place in _said().items():
        same = [COUNTS.c[name] == value for name, value in zip(PLACE, place, strict=True)]
        query = sa.select(*(COUNTS.c[name] for name in (*HOW, "n"))).where(*same, COUNTS.c.kind.in_(KINDS))
        stored = {(kind, decision, reason): n for kind, decision, reason, n in op.get_bind().execute(query)}
        for decision, reason in {how[1:] for how in stored}:
            counted, said = ([of.get((kind, decision, reason), 0) for kind in KINDS] for of in (stored, of_place))
            if sum(counted) == sum(said):
                _move(dict(zip(PLACE, place, strict=True)), decision, reason, said[0] - counted[0])


def _said() -> Mapping[Place, Mapping[tuple[str, str, str], int]]:
    """What items say, by place and how they were closed: of places alone that have a flagged part that was drawn."""
    sums: dict[Place, Counter[tuple[str, str, str]]] = {}
    mixed = set()
    for at, station, product, lot, deployment, kind, chosen, decision, reason in op.get_bind().execute(JUDGED):
        place = (cut(at, 15), station, product, lot or "", deployment or 0)
        if kind == "audit" and chosen:
            mixed.add(place)
        if decision:
            why = (reason or "") if decision == "defect" else ""
            sums.setdefault(place, Counter())["flagged" if chosen else kind, decision, why] += 1
    return {place: sums.get(place, Counter()) for place in mixed}


def _move(place: Mapping[str, Any], decision: str, reason: str, n: int) -> None:
    """So many more were flagged, and so many fewer audited."""
    if n == 0:
        return
    where = {name: place[name] for name in PLACE[1:3]}
    hour, day = cut(place["start"], 60), cut(place["start"], 60).replace(hour=0)
    for kind, delta in zip(KINDS, (n, -n), strict=True):
        how = {"kind": kind, "decision": decision, "reason": reason}
        _add("closing_rollup", {**place, **how}, {"n": delta})
        _add("closing_day", {"start": day, **where, **how}, {"n": delta})
    judged = {"n_flagged": n, "n_false_calls": n * (decision == "normal"), "n_defects": 0}
    _add("closing_hour", {"start": hour, **where, "lot": place["lot"]}, judged)


def _add(table: str, key: Mapping[str, Any], sums: Mapping[str, int]) -> None:
    names = (*key, *sums)
    columns, values = ", ".join(f'"{name}"' for name in names), ", ".join(f":{name}" for name in names)
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    same = ", ".join(f'"{name}"' for name in key)
    statement = sa.text(f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT ({same}) DO UPDATE SET {added}")
    op.execute(statement.bindparams(sa.bindparam("start", type_=UTC_TIME), **{**sums, **key}))


def downgrade() -> None:
    """Leaves the counts: the program of 0032 counts so, too."""
