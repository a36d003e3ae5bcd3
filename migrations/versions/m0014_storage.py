"""What is stored, by hour, for a forecast.

Revision ID: 0014
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, NAME, UTC_TIME, primary

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "storage_hour",
        Column("start", UTC_TIME, nullable=False),
        Column("subject", NAME, nullable=False),
        Column("held", BIG, nullable=False),
        Column("room", BIG),
        Column("at", UTC_TIME, nullable=False),
        primary("storage_hour", "start", "subject"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("storage_hour")
