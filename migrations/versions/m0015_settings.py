"""The settings that can change a verdict, as agents start with them.

Revision ID: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import ID, UTC_TIME, WORD, primary

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "setting_version",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("config_hash", WORD, nullable=False),
        Column("settings", sa.JSON, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        primary("setting_version", "id"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("setting_version")
