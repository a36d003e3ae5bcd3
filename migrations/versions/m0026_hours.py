"""Inspections are summed by hours too, and closings by hours and days: months are charted from these.

Revision ID: 0026
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, foreign, primary

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

KEY = ("start", "station_id", "product_id")
SUMS = ("n_pass", "n_review", "n_reject", "n_not_inspected", "n_late", "sum_latency_ms")
JUDGED = {
    "n_flagged": "CASE WHEN kind = 'flagged' THEN n ELSE 0 END",
    "n_false_calls": "CASE WHEN kind = 'flagged' AND decision = 'normal' THEN n ELSE 0 END",
    "n_defects": "CASE WHEN decision = 'defect' THEN n ELSE 0 END",
}


def upgrade() -> None:
    """Adds the tables and sums the quarters."""
    how, by = ("kind", "decision", "reason"), Column("deployment_id", ID, autoincrement=False, nullable=False)
    latency = Column("sum_latency_ms", sa.Float, nullable=False)
    _table("rollup_hour", [*_columns(NAME, "lot"), by], [*_columns(BIG, *SUMS[:-1]), latency])
    _table("closing_hour", _columns(NAME, "lot"), _columns(BIG, *JUDGED))
    _table("closing_day", _columns(WORD, *how), _columns(BIG, "n"))
    _sum("rollup_quarter", "rollup_hour", "hour", ("lot", "deployment_id"), {name: name for name in SUMS})
    inspected = "WHERE kind IN ('flagged', 'second', 'audit')"
    _sum("closing_rollup", "closing_hour", "hour", ("lot",), JUDGED, inspected)
    _sum("closing_rollup", "closing_day", "day", how, {"n": "n"})


def downgrade() -> None:
    """Drops them: the quarters say the same."""
    for name in ("closing_day", "closing_hour", "rollup_hour"):
        op.drop_table(name)


def _columns(kind: sa.types.TypeEngine[Any], *names: str) -> list[Column[Any]]:
    return [Column(name, kind, nullable=False) for name in names]


def _table(name: str, key: list[Column[Any]], sums: list[Column[Any]]) -> None:
    op.create_table(
        name,
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        *key,
        *sums,
        foreign(name, "product_id", "product.id"),
        foreign(name, "station_id", "station.id"),
        primary(name, *KEY, *(column.name for column in key)),
        sqlite_with_rowid=False,
    )


def _sum(source: str, name: str, width: str, key: tuple[str, ...], sums: dict[str, str], where: str = "") -> None:
    if op.get_bind().dialect.name == "postgresql":
        start = f"date_trunc('{width}', start, 'UTC')"
    else:  # text, as SQLAlchemy writes it
        kept, rest = (14, "00:00.000000") if width == "hour" else (11, "00:00:00.000000")
        start = f"substr(start, 1, {kept}) || '{rest}'"
    same = ", ".join((*KEY[1:], *key))
    added = ", ".join(f"sum({one})" for one in sums.values())
    op.execute(
        f"INSERT INTO {name} (start, {same}, {', '.join(sums)}) "
        f"SELECT {start}, {same}, {added} FROM {source} {where} GROUP BY {start}, {same}"
    )
