"""A partition's offset knows under which leader of the log the record before it was written (Kafka's leader epoch).

Revision ID: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; of offsets from before it is unknown until they move."""
    op.add_column("consumer_offset", sa.Column("leader_epoch", sa.BigInteger()))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("consumer_offset", "leader_epoch")
