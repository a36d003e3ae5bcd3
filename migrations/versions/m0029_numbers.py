"""Where a partition goes on, the last sequence number of each of its cameras is kept beside the offset.

Revision ID: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; the numbers of before are not known."""
    op.add_column("consumer_offset", sa.Column("numbers", sa.JSON()))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("consumer_offset", "numbers")
