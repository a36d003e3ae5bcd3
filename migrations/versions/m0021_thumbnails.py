"""Imported samples have thumbnails from the first, not only those that a scorer has seen.

Revision ID: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

SHA = sa.String(64)
COLUMN = "thumbnail_sha256"
TO_SAMPLES = """
    UPDATE sample SET thumbnail_sha256 =
        (SELECT sample_vector.thumbnail_sha256 FROM sample_vector WHERE sample_vector.sample_id = sample.id)
"""
TO_VECTORS = """
    UPDATE sample_vector SET thumbnail_sha256 =
        (SELECT sample.thumbnail_sha256 FROM sample WHERE sample.id = sample_vector.sample_id)
"""


def upgrade() -> None:
    """Moves the thumbnails of vectors to their samples."""
    _add("sample")
    op.execute(TO_SAMPLES)
    _drop("sample_vector")


def downgrade() -> None:
    """Moves them back; a vector of a sample that has none comes again with the next training."""
    _add("sample_vector")
    op.execute(TO_VECTORS)
    op.execute("DELETE FROM sample_vector WHERE thumbnail_sha256 IS NULL")
    with op.batch_alter_table("sample_vector") as vector:
        vector.alter_column(COLUMN, existing_type=SHA, nullable=False)
    _drop("sample")


def _add(name: str) -> None:
    with op.batch_alter_table(name) as table:
        table.add_column(Column(COLUMN, SHA))
        table.create_foreign_key(op.f(f"fk_{name}_{COLUMN}_blob"), "blob", [COLUMN], ["sha256"])
    op.create_index(f"ix_{name}_{COLUMN}", name, [COLUMN])


def _drop(name: str) -> None:
    op.drop_index(f"ix_{name}_{COLUMN}", name)
    with op.batch_alter_table(name) as table:
        table.drop_constraint(op.f(f"fk_{name}_{COLUMN}_blob"), type_="foreignkey")
        table.drop_column(COLUMN)
