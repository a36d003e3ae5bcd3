"""Dead letters know whether they were published again or discarded, and may have a preview.

Revision ID: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import UTC_TIME, WORD

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

WITHOUT_BYTES = "ix_dead_letter_without_bytes"
REPLAYED = """
    UPDATE dead_letter SET replayed_at = (
        SELECT max(at) FROM audit_event
        WHERE action = 'dead_letter.replay' AND subject = 'dead_letter:' || dead_letter.id
    )
    WHERE 'dead_letter:' || id IN (SELECT subject FROM audit_event WHERE action = 'dead_letter.replay')
"""


def upgrade() -> None:
    """What was replayed so far is known from the audit trail."""
    op.drop_index(WITHOUT_BYTES, "dead_letter")  # SQLite's rebuilt table would have it without its condition
    with op.batch_alter_table("dead_letter") as letter:
        letter.add_column(Column("preview_sha256", WORD))
        letter.add_column(Column("replayed_at", UTC_TIME))
        letter.add_column(Column("discarded_at", UTC_TIME))
        letter.create_foreign_key(op.f("fk_dead_letter_preview_sha256_blob"), "blob", ["preview_sha256"], ["sha256"])
    op.execute(REPLAYED)
    op.create_index("ix_dead_letter_preview_sha256", "dead_letter", ["preview_sha256"])
    _index_those_without_bytes()


def downgrade() -> None:
    """Drops them; what was discarded has lost its bytes already."""
    op.drop_index("ix_dead_letter_preview_sha256", "dead_letter")
    op.drop_index(WITHOUT_BYTES, "dead_letter")
    with op.batch_alter_table("dead_letter") as letter:
        letter.drop_constraint(op.f("fk_dead_letter_preview_sha256_blob"), type_="foreignkey")
        for name in ("discarded_at", "replayed_at", "preview_sha256"):
            letter.drop_column(name)
    _index_those_without_bytes()


def _index_those_without_bytes() -> None:
    gone = sa.text("blob_sha256 IS NULL")
    op.create_index(WITHOUT_BYTES, "dead_letter", ["created_at"], sqlite_where=gone, postgresql_where=gone)
