"""Indexes by which the page Samples finds samples, and by which they are counted.

Revision ID: 0016
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_sample_state_product_id_role": ["state", "product_id", "role", "revoked_at", "epoch_id"],
    "ix_sample_product_id_id": ["product_id", "id"],
    "ix_sample_product_id_serial": ["product_id", "serial"],
}


def upgrade() -> None:
    """Makes them."""
    for name, columns in INDEXES.items():
        op.create_index(name, "sample", columns)


def downgrade() -> None:
    """Drops them."""
    for name in INDEXES:
        op.drop_index(name, "sample")
