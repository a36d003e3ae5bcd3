"""Dead letters are counted quickly, also after a flood of them.

Revision ID: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

WAITING, DONE = "ix_dead_letter_waiting", "ix_dead_letter_done"


def upgrade() -> None:
    """Makes the indexes."""
    for name, columns, condition in (
        (WAITING, ["reason", "station", "blob_sha256"], "replayed_at IS NULL AND discarded_at IS NULL"),
        (DONE, ["reason", "discarded_at"], "replayed_at IS NOT NULL OR discarded_at IS NOT NULL"),
    ):
        only = sa.text(condition)
        op.create_index(name, "dead_letter", columns, sqlite_where=only, postgresql_where=only)


def downgrade() -> None:
    """Drops them."""
    op.drop_index(DONE, "dead_letter")
    op.drop_index(WAITING, "dead_letter")
