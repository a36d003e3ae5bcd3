"""What the scorer saw of each item, small enough to compare.

Revision ID: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import ID, foreign, primary

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table. Items from before have no vector."""
    op.create_table(
        "item_vector",
        Column("item_id", ID, nullable=False),
        Column("space", sa.String(64), nullable=False),
        Column("features", sa.LargeBinary, nullable=False),
        Column("heatmap", sa.LargeBinary, nullable=False),
        Column("low", sa.Float, nullable=False),
        Column("high", sa.Float, nullable=False),
        primary("item_vector", "item_id"),
        foreign("item_vector", "item_id", "item.id"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("item_vector")
