"""Passwords, PINs, and who is signed in.

Revision ID: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import ID, NAME, UTC_TIME, WORD, check, foreign, primary

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes both tables."""
    op.create_table(
        "credential",
        Column("user_id", ID, nullable=False, autoincrement=False),
        Column("password", NAME),
        Column("pin", NAME),
        Column("pin_failures", sa.Integer, nullable=False),
        primary("credential", "user_id"),
        foreign("credential", "user_id", "user.id"),
    )
    op.create_table(
        "session",
        Column("id", WORD, nullable=False),
        Column("user_id", ID, nullable=False),
        Column("terminal", WORD, nullable=False),
        Column("method", WORD, nullable=False),
        Column("opened_at", UTC_TIME, nullable=False),
        Column("seen_at", UTC_TIME, nullable=False),
        Column("ended_at", UTC_TIME),
        primary("session", "id"),
        foreign("session", "user_id", "user.id"),
        check("session", "method", "method IN ('password', 'pin', 'provider')"),
    )
    op.create_index("ix_session_seen_at", "session", ["seen_at"])
    op.create_index("ix_session_terminal_opened_at", "session", ["terminal", "opened_at"])
    op.create_index("ix_session_user_id_ended_at", "session", ["user_id", "ended_at"])


def downgrade() -> None:
    """Drops them."""
    op.drop_table("session")
    op.drop_table("credential")
