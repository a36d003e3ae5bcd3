"""Snapshots freeze all of a sample that decides about a run, not its role alone.

Revision ID: 0032
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column

from migrations.pieces import ID, NAME, WORD

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

TABLE = "snapshot_sample"
AS_THEY_ARE = """
    UPDATE snapshot_sample
    SET origin = sample.origin, serial = sample.serial, lot = sample.lot,
        station_id = sample.station_id, epoch_id = sample.epoch_id
    FROM sample WHERE sample.id = snapshot_sample.sample_id
"""


def upgrade() -> None:
    """Adds the columns. What is frozen gets what its samples have now, for what they had then is not known; its hash
    stays that of roles and pixels.
    """
    with op.batch_alter_table(TABLE) as frozen:
        frozen.add_column(Column("origin", WORD))
        frozen.add_column(Column("serial", NAME))
        frozen.add_column(Column("lot", NAME))
        for column in ("station", "epoch"):
            frozen.add_column(Column(f"{column}_id", ID))
            frozen.create_foreign_key(op.f(f"fk_{TABLE}_{column}_id_{column}"), column, [f"{column}_id"], ["id"])
    op.execute(AS_THEY_ARE)
    with op.batch_alter_table(TABLE) as frozen:
        frozen.alter_column("origin", existing_type=WORD, nullable=False)


def downgrade() -> None:
    """Drops them."""
    with op.batch_alter_table(TABLE) as frozen:
        for column in ("station", "epoch"):
            frozen.drop_constraint(op.f(f"fk_{TABLE}_{column}_id_{column}"), type_="foreignkey")
            frozen.drop_column(f"{column}_id")
        for column in ("lot", "serial", "origin"):
            frozen.drop_column(column)
