"""The newest parts of a state, a product or a station are found without sorting all of them.

Revision ID: 0020
"""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMNS = ("state", "product_id", "station_id")


def upgrade() -> None:
    """Makes the indexes."""
    for column in COLUMNS:
        op.create_index(f"ix_item_{column}_event_at_id", "item", [column, "event_at", "id"])


def downgrade() -> None:
    """Drops them."""
    for column in COLUMNS:
        op.drop_index(f"ix_item_{column}_event_at_id", "item")
