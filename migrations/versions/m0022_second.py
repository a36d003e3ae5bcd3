"""Parts that only a second model flagged, beside the one that decides, are closed as a kind of their own.

Revision ID: 0022
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

from migrations.pieces import UTC_TIME, cut

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

KEY = ("start", "station_id", "product_id", "lot", "deployment_id", "decision", "reason")
CLOSED = sa.text("""
    SELECT event_at, station_id, product_id, lot, deployment_id, decision, (
        SELECT reason FROM review WHERE review.item_id = item.id AND review.decision = 'defect'
        ORDER BY review.id DESC LIMIT 1
    ) AS reason
    FROM item WHERE state = 'closed' AND decision IS NOT NULL AND kind = 'flagged' AND verdict = 'pass'
""").columns(event_at=UTC_TIME)
COUNTS = sa.table("closing_rollup", sa.column("start", UTC_TIME), *map(sa.column, (*KEY[1:], "kind", "n")))
MERGED = """
    INSERT INTO closing_rollup ({columns}, kind, n) SELECT {columns}, 'flagged', n FROM closing_rollup
    WHERE kind = 'second' ON CONFLICT ({columns}, kind) DO UPDATE SET n = closing_rollup.n + excluded.n
"""


def upgrade() -> None:
    """Takes them out of the flagged ones, whose false calls are the deciding model's."""
    sums: Counter[tuple[Any, ...]] = Counter()
    for at, station, product, lot, deployment, decision, reason in op.get_bind().execute(CLOSED):
        why = (reason or "") if decision == "defect" else ""
        sums[cut(at, 15), station, product, lot or "", deployment or 0, decision, why] += 1
    for key, n in sums.items():
        row = dict(zip(KEY, key, strict=True))
        same = [COUNTS.c[name] == value for name, value in row.items()]
        op.execute(sa.update(COUNTS).where(*same, COUNTS.c.kind == "flagged").values(n=COUNTS.c.n - n))
        op.execute(sa.insert(COUNTS).values(**row, kind="second", n=n))


def downgrade() -> None:
    """Counts them as flagged again."""
    op.execute(MERGED.format(columns=", ".join(f'"{name}"' for name in KEY)))
    op.execute("DELETE FROM closing_rollup WHERE kind = 'second'")
