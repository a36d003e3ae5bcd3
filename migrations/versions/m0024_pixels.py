"""An item knows its picture by its decoded pixels, as an imported sample does.

Revision ID: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; of items from before only the bytes are known."""
    op.add_column("item", sa.Column("pixels_sha256", sa.String(64)))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("item", "pixels_sha256")
