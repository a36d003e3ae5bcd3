"""Whether the two people who judged a part said the same is kept on its item: a window's are counted by an index.

Revision ID: 0030
"""

from __future__ import annotations

from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

INDEX = "ix_item_agreed"
item = sa.table("item", sa.column("id"), sa.column("agreed", sa.Boolean))


def upgrade() -> None:
    """Adds the column, reads it from the reviews, and adds the index."""
    op.add_column("item", sa.Column("agreed", sa.Boolean))
    conn = op.get_bind()
    left_open = "SELECT item_id FROM review WHERE state = 'open'"
    said = conn.execute(sa.text(
        f"SELECT item_id, decision, state FROM review WHERE item_id IN ({left_open}) ORDER BY item_id, id"
    )).all()  # fmt: skip
    for item_id, reviews in groupby(said, lambda one: one.item_id):
        standing: list[tuple[str, str | None]] = []
        for _, decision, state in reviews:
            if decision != "undo":
                standing.append((decision, state))
            elif standing:
                standing.pop()
        if len(standing) > 1 and standing[0][1] == "open":
            agreed = standing[0][0] == standing[1][0]
            conn.execute(sa.update(item).where(item.c.id == item_id).values(agreed=agreed))
    paired = sa.text("agreed IS NOT NULL")
    columns = ["event_at", "product_id", "station_id", "lot", "agreed"]
    op.create_index(INDEX, "item", columns, sqlite_where=paired, postgresql_where=paired)


def downgrade() -> None:
    """Drops both."""
    op.drop_index(INDEX, "item")
    op.drop_column("item", "agreed")
