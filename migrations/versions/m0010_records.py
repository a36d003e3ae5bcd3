"""Indexes by which records of what is over go after a while.

Revision ID: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

DEAD_LETTERS = "ix_dead_letter_without_bytes"


def upgrade() -> None:
    """Makes them."""
    op.create_index("ix_alert_closed_at", "alert", ["closed_at"])
    op.create_index("ix_command_finished_at", "command", ["finished_at"])
    gone = sa.text("blob_sha256 IS NULL")
    op.create_index(DEAD_LETTERS, "dead_letter", ["created_at"], sqlite_where=gone, postgresql_where=gone)


def downgrade() -> None:
    """Drops them."""
    op.drop_index(DEAD_LETTERS, "dead_letter")
    op.drop_index("ix_command_finished_at", "command")
    op.drop_index("ix_alert_closed_at", "alert")
