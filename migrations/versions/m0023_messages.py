"""An alert knows under which message the webhook sent it, so that what was sent together is sent so again.

Revision ID: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; what waits for another attempt just now gets a message anew."""
    op.add_column("alert", sa.Column("message", sa.String(200)))


def downgrade() -> None:
    """Drops it."""
    op.drop_column("alert", "message")
