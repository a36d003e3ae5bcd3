"""An item keeps its record's headers, as a dead letter does, and the other heatmap where two models disagreed on it.

Revision ID: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

COLUMN = "other_overlay_sha256"


def upgrade() -> None:
    """Adds the columns; of items from before neither is known."""
    op.add_column("item", sa.Column("headers", sa.JSON()))
    # Both databases know this; SQLite adds no key to a table that is there but with its column.
    key = f"CONSTRAINT fk_item_{COLUMN}_blob REFERENCES blob (sha256)"
    op.execute(f"ALTER TABLE item ADD COLUMN {COLUMN} VARCHAR(64) {key}")
    op.create_index(f"ix_item_{COLUMN}", "item", [COLUMN])


def downgrade() -> None:
    """Drops them."""
    op.drop_index(f"ix_item_{COLUMN}", "item")
    op.drop_column("item", COLUMN)
    op.drop_column("item", "headers")
