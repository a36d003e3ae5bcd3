"""Closings take the place of review sums, with lot and kind; items are found by time, inspections by serial.

Revision ID: 0008
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, cut, foreign, primary

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = ("start", "station_id", "product_id", "deployment_id", "decision", "reason")
CLOSED = sa.text("""
    SELECT event_at, station_id, product_id, lot, deployment_id, kind, decision, (
        SELECT reason FROM review WHERE review.item_id = item.id AND review.decision = 'defect'
        ORDER BY review.id DESC LIMIT 1
    ) AS reason
    FROM item WHERE state = 'closed' AND decision IS NOT NULL
    AND (kind <> 'teach' OR EXISTS (SELECT 1 FROM review WHERE review.item_id = item.id))
""").columns(event_at=UTC_TIME)


def upgrade() -> None:
    """Counts the closed items anew; nothing else knows their lots and kinds."""
    table = op.create_table(
        "closing_rollup",
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("lot", NAME, nullable=False),
        Column("deployment_id", ID, autoincrement=False, nullable=False),
        Column("kind", WORD, nullable=False),
        Column("decision", WORD, nullable=False),
        Column("reason", WORD, nullable=False),
        Column("n", BIG, nullable=False),
        foreign("closing_rollup", "product_id", "product.id"),
        foreign("closing_rollup", "station_id", "station.id"),
        primary("closing_rollup", *KEY[:3], "lot", "deployment_id", "kind", "decision", "reason"),
        sqlite_with_rowid=False,
    )
    _lay(with_rowid=False)
    sums: Counter[tuple[Any, ...]] = Counter()
    for at, station, product, lot, deployment, kind, decision, reason in op.get_bind().execute(CLOSED):
        why = (reason or "") if decision == "defect" else ""
        sums[cut(at, 15), station, product, lot or "", deployment or 0, kind, decision, why] += 1
    names = (*KEY[:3], "lot", "deployment_id", "kind", "decision", "reason", "n")
    op.bulk_insert(table, [dict(zip(names, (*key, n), strict=True)) for key, n in sums.items()])
    op.drop_table("review_rollup")
    op.create_index("ix_item_event_at", "item", ["event_at"])
    named = sa.text("serial IS NOT NULL")
    op.create_index(
        "ix_inspection_serial", "inspection", ["serial", "event_at"], sqlite_where=named, postgresql_where=named
    )


def _lay(*, with_rowid: bool) -> None:
    """How SQLite lays sums: without a rowid a window of time is one stretch of the table."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for name in ("rollup_minute", "rollup_quarter"):
        with op.batch_alter_table(name, recreate="always", table_kwargs={"sqlite_with_rowid": with_rowid}):
            pass


def downgrade() -> None:
    """Sums them without lot and kind; reviews that closed nothing are not counted any more."""
    _lay(with_rowid=True)
    op.drop_index("ix_inspection_serial", "inspection")
    op.drop_index("ix_item_event_at", "item")
    op.create_table(
        "review_rollup",
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("deployment_id", ID, autoincrement=False, nullable=False),
        Column("decision", WORD, nullable=False),
        Column("reason", WORD, nullable=False),
        Column("n", BIG, nullable=False),
        foreign("review_rollup", "product_id", "product.id"),
        foreign("review_rollup", "station_id", "station.id"),
        primary("review_rollup", *KEY),
    )
    columns = ", ".join(f'"{name}"' for name in KEY)
    op.execute(
        f"INSERT INTO review_rollup ({columns}, n) SELECT {columns}, sum(n) FROM closing_rollup GROUP BY {columns}"
    )
    op.drop_table("closing_rollup")
