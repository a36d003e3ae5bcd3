"""A product's own model input.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; the configured input holds for the products that are there."""
    op.add_column("product", sa.Column("input", sa.JSON))


def downgrade() -> None:
    """Drops it: the next model of each product gets the configured input."""
    op.drop_column("product", "input")
