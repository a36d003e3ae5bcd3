"""An item keeps its record's headers, as a dead letter does.

Revision ID: 0030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; of items from before the headers are not known."""
    op.add_column("item", sa.Column("headers", sa.JSON()))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("item", "headers")
