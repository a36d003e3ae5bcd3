"""What came of decisions made again is kept, and the items of a part are found by its serial.

Revision ID: 0028
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, UTC_TIME, WORD, check, foreign, primary

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

INDEX = "ix_item_serial_event_at"
COMPARED = "'identical', 'within_tolerance', 'same_verdict', 'different'"


def upgrade() -> None:
    """Adds the table and the index."""
    op.create_table(
        "replay",
        Column("event_at", UTC_TIME, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, autoincrement=False, nullable=False),
        Column("offset", BIG, autoincrement=False, nullable=False),
        Column("live", sa.Boolean, nullable=False),
        Column("agreement", WORD, nullable=False),
        Column("verdict", WORD, nullable=False),
        Column("reason", WORD),
        Column("score", sa.Float),
        Column("deployment_id", ID),
        Column("engine", sa.Text),
        Column("by", ID),
        Column("at", UTC_TIME, nullable=False),
        foreign("replay", "stream_id", "stream.id"),
        foreign("replay", "deployment_id", "deployment.id"),
        foreign("replay", "by", "user.id"),
        check("replay", "agreement", f"agreement IN ({COMPARED})"),
        primary("replay", "event_at", "stream_id", "partition", "offset", "live"),
    )
    named = sa.text("serial IS NOT NULL")
    op.create_index(INDEX, "item", ["serial", "event_at"], sqlite_where=named, postgresql_where=named)


def downgrade() -> None:
    """Drops them."""
    op.drop_index(INDEX, "item")
    op.drop_table("replay")
