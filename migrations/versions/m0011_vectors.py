"""What the scorer saw of items and of samples, small enough to compare.

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
    """Makes the tables. Items from before have no vector; samples get theirs with the next training."""
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
    op.create_table(
        "sample_vector",
        Column("sample_id", ID, nullable=False),
        Column("space", sa.String(64), nullable=False),
        Column("features", sa.LargeBinary, nullable=False),
        Column("thumbnail_sha256", sa.String(64), nullable=False),
        primary("sample_vector", "sample_id"),
        foreign("sample_vector", "sample_id", "sample.id"),
        foreign("sample_vector", "thumbnail_sha256", "blob.sha256"),
    )
    op.create_index("ix_sample_vector_thumbnail_sha256", "sample_vector", ["thumbnail_sha256"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("sample_vector")
    op.drop_table("item_vector")
