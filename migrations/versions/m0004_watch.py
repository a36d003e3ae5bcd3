"""Changeovers, alerts, what a station's pictures are like, score histograms, and evidence that may be let go and swept.

Revision ID: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, check, foreign, primary

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAMING_BLOBS = {
    "item": ("frame_sha256", "heatmap_sha256", "preview_sha256", "overlay_sha256", "thumbnail_sha256"),
    "dead_letter": ("blob_sha256",),
    "sample": ("blob_sha256", "mask_sha256"),
    "model_version": ("artifact_sha256",),
}


def upgrade() -> None:
    """Makes the tables and columns."""
    op.add_column("station", Column("silent_after_s", sa.Float))
    with op.batch_alter_table("item", table_args=_item_checks()) as item:
        item.alter_column("frame_sha256", existing_type=WORD, nullable=True)
        item.add_column(Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()))
        item.add_column(Column("released_at", UTC_TIME))
    # Without them each blob deleted is looked for in every row of these tables.
    for table, columns in NAMING_BLOBS.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])
    _changeover()
    _watch()


def downgrade() -> None:
    """Drops them; refused where an item's evidence was let go, which the older schema does not know."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM item WHERE frame_sha256 IS NULL")).first():
        raise CommandError("retention has let evidence of items go; revision 0003 cannot hold such items")
    for table, columns in NAMING_BLOBS.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table)
    for table in ("score_bin", "alert", "camera_history", "changeover"):
        op.drop_table(table)
    with op.batch_alter_table("item", table_args=_item_checks()) as item:
        item.drop_column("released_at")
        item.drop_column("pinned")
        item.alter_column("frame_sha256", existing_type=WORD, nullable=False)
    op.drop_column("station", "silent_after_s")


def _item_checks() -> tuple[sa.CheckConstraint, ...]:
    """What SQLite's rebuilt table would lose."""
    return (
        check("item", "kind", "kind IN ('flagged', 'audit', 'failed')"),
        check("item", "state", "state IN ('open', 'escalated', 'closed')"),
    )


def _changeover() -> None:
    op.create_table(
        "changeover",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("from_offset", BIG, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("previous_product_id", ID),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("changeover", "station_id", "station.id"),
        foreign("changeover", "stream_id", "stream.id"),
        foreign("changeover", "product_id", "product.id"),
        foreign("changeover", "previous_product_id", "product.id"),
        primary("changeover", "id"),
    )
    op.create_index("ix_changeover_station_id", "changeover", ["station_id", "stream_id", "partition"])


def _watch() -> None:
    op.create_table(
        "camera_history",
        Column("station_id", ID, nullable=False),
        Column("measure", WORD, nullable=False),
        Column("n", BIG, nullable=False),
        Column("mean", sa.Float, nullable=False),
        Column("variance", sa.Float, nullable=False),
        Column("updated_at", UTC_TIME, nullable=False),
        foreign("camera_history", "station_id", "station.id"),
        primary("camera_history", "station_id", "measure"),
    )
    op.create_table(
        "alert",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("kind", WORD, nullable=False),
        Column("subject", NAME, nullable=False),
        Column("level", WORD, nullable=False),
        Column("words", sa.Text, nullable=False),
        Column("detail", sa.JSON, nullable=False),
        Column("n", BIG, nullable=False),
        Column("opened_at", UTC_TIME, nullable=False),
        Column("seen_at", UTC_TIME, nullable=False),
        Column("closed_at", UTC_TIME),
        Column("acknowledged_by", ID),
        Column("acknowledged_at", UTC_TIME),
        Column("attempts", sa.Integer, nullable=False, server_default="0"),
        Column("next_attempt_at", UTC_TIME),
        Column("sent_at", UTC_TIME),
        foreign("alert", "acknowledged_by", "user.id"),
        check("alert", "level", "level IN ('warning', 'error')"),
        primary("alert", "id"),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_alert_open", "alert", ["kind", "subject"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_index("ix_alert_next_attempt_at", "alert", ["next_attempt_at"])
    op.create_table(
        "score_bin",
        Column("day", sa.Date, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("deployment_id", ID, nullable=False),
        Column("bin", sa.Integer, autoincrement=False, nullable=False),
        Column("n", BIG, nullable=False),
        foreign("score_bin", "station_id", "station.id"),
        foreign("score_bin", "product_id", "product.id"),
        foreign("score_bin", "deployment_id", "deployment.id"),
        primary("score_bin", "day", "station_id", "product_id", "deployment_id", "bin"),
    )
