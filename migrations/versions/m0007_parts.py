"""Samples know their station and lot, the highest calibration scores have pictures, and watched items have an index.

Revision ID: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import ID, NAME

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SHA = sa.String(64)
PICTURES = ("preview_sha256", "overlay_sha256")
FROM_ITEMS = """
    UPDATE sample SET
        station_id = (SELECT item.station_id FROM item WHERE item.id = sample.item_id),
        lot = (SELECT item.lot FROM item WHERE item.id = sample.item_id)
    WHERE item_id IS NOT NULL
"""


def upgrade() -> None:
    """Samples of the stream get the station and lot of their items; certificates stay as they were issued."""
    with op.batch_alter_table("sample") as sample:
        sample.add_column(Column("station_id", ID))
        sample.add_column(Column("lot", NAME))
        sample.create_foreign_key(op.f("fk_sample_station_id_station"), "station", ["station_id"], ["id"])
    op.execute(FROM_ITEMS)
    with op.batch_alter_table("calibration_score") as score:
        for column in PICTURES:
            score.add_column(Column(column, SHA))
            score.create_foreign_key(op.f(f"fk_calibration_score_{column}_blob"), "blob", [column], ["sha256"])
    for column in PICTURES:
        op.create_index(f"ix_calibration_score_{column}", "calibration_score", [column])
    on_sqlite, on_postgresql = sa.text("watched IS 1"), sa.text("watched IS true")
    op.create_index("ix_item_watched", "item", ["state", "id"], sqlite_where=on_sqlite, postgresql_where=on_postgresql)


def downgrade() -> None:
    """Drops them."""
    op.drop_index("ix_item_watched", "item")
    for column in PICTURES:
        op.drop_index(f"ix_calibration_score_{column}", "calibration_score")
    with op.batch_alter_table("calibration_score") as score:
        for column in PICTURES:
            score.drop_constraint(op.f(f"fk_calibration_score_{column}_blob"), type_="foreignkey")
            score.drop_column(column)
    with op.batch_alter_table("sample") as sample:
        sample.drop_constraint(op.f("fk_sample_station_id_station"), type_="foreignkey")
        sample.drop_column("lot")
        sample.drop_column("station_id")
