"""Whether a view of a part waits, and the newest judged picture of a station, are found quickly.

Revision ID: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

WAITING, PICTURED = "ix_item_waiting", "ix_item_pictured"


def upgrade() -> None:
    """Makes the indexes."""
    for name, columns, condition in (
        (WAITING, ["product_id", "serial"], "state != 'closed' AND serial IS NOT NULL"),
        (PICTURED, ["station_id", "id"], "state = 'closed' AND preview_sha256 IS NOT NULL"),
    ):
        only = sa.text(condition)
        op.create_index(name, "item", columns, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    """Drops them."""
    op.drop_index(PICTURED, "item")
    op.drop_index(WAITING, "item")
