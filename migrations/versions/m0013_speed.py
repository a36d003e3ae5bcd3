"""How far behind each partition is, and how long frames take in each stage, by minute.

Revision ID: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, UTC_TIME, WORD, foreign, primary

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "lag_minute",
        Column("start", UTC_TIME, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("lag", BIG, nullable=False),
        foreign("lag_minute", "stream_id", "stream.id"),
        primary("lag_minute", "start", "stream_id", "partition"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stage_minute",
        Column("start", UTC_TIME, nullable=False),
        Column("stage", WORD, nullable=False),
        Column("bin", sa.Integer, nullable=False),
        Column("n", BIG, nullable=False),
        primary("stage_minute", "start", "stage", "bin"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drops them."""
    op.drop_table("stage_minute")
    op.drop_table("lag_minute")
