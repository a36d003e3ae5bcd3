"""Inspections in partitions of one UTC day, on PostgreSQL. SQLite keeps its plain table.

Revision ID: 0005
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, check, foreign, primary

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = "pk_inspection"
INDEX = "ix_inspection_station_id_event_at"


def upgrade() -> None:
    """Makes the table anew, partitioned; what is there becomes one partition, without being copied.

    That partition ends with today, so that the coming days get theirs; rows dated later go to the default one.
    """
    if op.get_bind().dialect.name != "postgresql":
        return
    bound = (datetime.now(UTC) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    before = f"inspection_before_y{bound:%Ym%md%d}"
    _rename(before)
    _create(partitioned=True)
    op.execute("CREATE TABLE inspection_default PARTITION OF inspection DEFAULT")
    if op.get_bind().execute(sa.text(f"SELECT 1 FROM {before} LIMIT 1")).first() is None:
        op.drop_table(before)
        return
    later = f"DELETE FROM {before} WHERE event_at >= '{bound.isoformat()}' RETURNING *"
    op.execute(f"WITH later AS ({later}) INSERT INTO inspection SELECT * FROM later")
    op.execute(
        f"ALTER TABLE inspection ATTACH PARTITION {before} FOR VALUES FROM (MINVALUE) TO ('{bound.isoformat()}')"
    )


def downgrade() -> None:
    """Makes one plain table of them: every row is copied."""
    if op.get_bind().dialect.name != "postgresql":
        return
    _rename("inspection_days")
    _create(partitioned=False)
    op.execute("INSERT INTO inspection SELECT * FROM inspection_days")
    op.drop_table("inspection_days")


def _rename(name: str) -> None:
    # Names of keys and indexes are the schema's, so they move too; those of other constraints are the table's.
    op.rename_table("inspection", name)
    op.execute(f"ALTER INDEX {KEY} RENAME TO pk_{name}")
    op.execute(f"ALTER INDEX {INDEX} RENAME TO ix_{name}")


def _create(*, partitioned: bool) -> None:
    op.create_table(
        "inspection",
        Column("event_at", UTC_TIME, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, autoincrement=False, nullable=False),
        Column("offset", BIG, autoincrement=False, nullable=False),
        Column("frame_id", NAME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("serial", NAME),
        Column("lot", NAME),
        Column("verdict", WORD, nullable=False),
        Column("reason", WORD),
        Column("score", sa.Float),
        Column("p_value", sa.Float),
        Column("severity", sa.Float),
        Column("deployment_id", ID),
        Column("captured_at", UTC_TIME),
        Column("decided_at", UTC_TIME, nullable=False),
        Column("latency_ms", sa.Float, nullable=False),
        Column("score_ms", sa.Float),
        Column("late", sa.Boolean, nullable=False),
        Column("clock_suspect", sa.Boolean, nullable=False),
        foreign("inspection", "deployment_id", "deployment.id"),
        foreign("inspection", "product_id", "product.id"),
        foreign("inspection", "station_id", "station.id"),
        foreign("inspection", "stream_id", "stream.id"),
        check("inspection", "verdict", "verdict IN ('pass', 'review', 'reject', 'not_inspected')"),
        primary("inspection", "event_at", "stream_id", "partition", "offset"),
        postgresql_partition_by="RANGE (event_at)" if partitioned else None,
    )
    op.create_index(INDEX, "inspection", ["station_id", "event_at"])
