"""Frames, what became of them, and what people said of them.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, check, foreign, primary, unique

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "inspection",
    "item",
    "dead_letter",
    "outbox",
    "frame_seen",
    "rollup_minute",
    "rollup_quarter",
    "review_rollup",
    "review",
    "claim",
    "sample",
    "snapshot_sample",
)


def upgrade() -> None:
    """Makes the tables."""
    _frames()
    _loop()


def downgrade() -> None:
    """Drops them, with everything in them."""
    for table in TABLES[::-1]:
        op.drop_table(table)


def _frames() -> None:
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
    )
    op.create_index("ix_inspection_station_id_event_at", "inspection", ["station_id", "event_at"])
    op.create_table(
        "item",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", BIG, nullable=False),
        Column("event_at", UTC_TIME, nullable=False),
        Column("frame_id", NAME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("serial", NAME),
        Column("lot", NAME),
        Column("kind", WORD, nullable=False),
        Column("state", WORD, nullable=False),
        Column("decision", WORD),
        Column("verdict", WORD, nullable=False),
        Column("reason", WORD),
        Column("score", sa.Float),
        Column("p_value", sa.Float),
        Column("severity", sa.Float),
        Column("deployment_id", ID),
        Column("frame_sha256", WORD, nullable=False),
        Column("heatmap_sha256", WORD),
        Column("preview_sha256", WORD),
        Column("overlay_sha256", WORD),
        Column("thumbnail_sha256", WORD),
        Column("created_at", UTC_TIME, nullable=False),
        Column("closed_at", UTC_TIME),
        foreign("item", "deployment_id", "deployment.id"),
        foreign("item", "frame_sha256", "blob.sha256"),
        foreign("item", "heatmap_sha256", "blob.sha256"),
        foreign("item", "overlay_sha256", "blob.sha256"),
        foreign("item", "preview_sha256", "blob.sha256"),
        foreign("item", "product_id", "product.id"),
        foreign("item", "station_id", "station.id"),
        foreign("item", "stream_id", "stream.id"),
        foreign("item", "thumbnail_sha256", "blob.sha256"),
        check("item", "kind", "kind IN ('flagged', 'audit', 'failed')"),
        check("item", "state", "state IN ('open', 'escalated', 'closed')"),
        unique("item", "stream_id", "partition", "offset"),
        primary("item", "id"),
    )
    op.create_index("ix_item_state_id", "item", ["state", "id"])
    op.create_table(
        "dead_letter",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", BIG, nullable=False),
        Column("station", NAME),
        Column("reason", WORD, nullable=False),
        Column("detail", sa.Text, nullable=False),
        Column("headers", sa.JSON, nullable=False),
        Column("value_sha256", WORD, nullable=False),
        Column("blob_sha256", WORD),
        Column("counted", sa.Boolean, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("dead_letter", "blob_sha256", "blob.sha256"),
        foreign("dead_letter", "stream_id", "stream.id"),
        unique("dead_letter", "stream_id", "partition", "offset"),
        primary("dead_letter", "id"),
    )
    op.create_index("ix_dead_letter_quota", "dead_letter", ["station", "reason", "created_at"])
    op.create_table(
        "outbox",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", BIG, nullable=False),
        Column("key", NAME, nullable=False),
        Column("value", sa.LargeBinary, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("outbox", "stream_id", "stream.id"),
        unique("outbox", "stream_id", "partition", "offset"),
        primary("outbox", "id"),
    )
    op.create_table(
        "frame_seen",
        Column("station_id", ID, nullable=False),
        Column("frame_id", NAME, nullable=False),
        Column("seen_at", UTC_TIME, nullable=False),
        foreign("frame_seen", "station_id", "station.id"),
        primary("frame_seen", "station_id", "frame_id"),
    )
    op.create_index("ix_frame_seen_seen_at", "frame_seen", ["seen_at"])
    op.create_table(
        "rollup_minute",
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("lot", NAME, nullable=False),
        Column("deployment_id", ID, autoincrement=False, nullable=False),
        Column("n_pass", BIG, nullable=False),
        Column("n_review", BIG, nullable=False),
        Column("n_reject", BIG, nullable=False),
        Column("n_not_inspected", BIG, nullable=False),
        Column("n_late", BIG, nullable=False),
        Column("sum_latency_ms", sa.Float, nullable=False),
        foreign("rollup_minute", "product_id", "product.id"),
        foreign("rollup_minute", "station_id", "station.id"),
        primary("rollup_minute", "start", "station_id", "product_id", "lot", "deployment_id"),
    )
    op.create_table(
        "rollup_quarter",
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("lot", NAME, nullable=False),
        Column("deployment_id", ID, autoincrement=False, nullable=False),
        Column("n_pass", BIG, nullable=False),
        Column("n_review", BIG, nullable=False),
        Column("n_reject", BIG, nullable=False),
        Column("n_not_inspected", BIG, nullable=False),
        Column("n_late", BIG, nullable=False),
        Column("sum_latency_ms", sa.Float, nullable=False),
        foreign("rollup_quarter", "product_id", "product.id"),
        foreign("rollup_quarter", "station_id", "station.id"),
        primary("rollup_quarter", "start", "station_id", "product_id", "lot", "deployment_id"),
    )
    op.create_table(
        "review_rollup",
        Column("start", UTC_TIME, nullable=False),
        Column("station_id", ID, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("deployment_id", ID, autoincrement=False, nullable=False),
        Column("decision", WORD, nullable=False),
        Column("reason", WORD, nullable=False),
        Column("n", BIG, nullable=False),
        foreign("review_rollup", "product_id", "product.id"),
        foreign("review_rollup", "station_id", "station.id"),
        primary("review_rollup", "start", "station_id", "product_id", "deployment_id", "decision", "reason"),
    )


def _loop() -> None:
    op.create_table(
        "review",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("item_id", ID, nullable=False),
        Column("user_id", ID, nullable=False),
        Column("decision", WORD, nullable=False),
        Column("reason", WORD),
        Column("note", sa.Text),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("review", "item_id", "item.id"),
        foreign("review", "user_id", "user.id"),
        check("review", "decision", "decision IN ('normal', 'defect', 'unsure', 'undo')"),
        primary("review", "id"),
    )
    op.create_index("ix_review_item_id", "review", ["item_id"])
    op.create_table(
        "claim",
        Column("item_id", ID, nullable=False),
        Column("user_id", ID, nullable=False),
        Column("expires_at", UTC_TIME, nullable=False),
        foreign("claim", "item_id", "item.id"),
        foreign("claim", "user_id", "user.id"),
        primary("claim", "item_id"),
    )
    op.create_table(
        "sample",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("role", WORD, nullable=False),
        Column("origin", WORD, nullable=False),
        Column("blob_sha256", WORD, nullable=False),
        Column("mask_sha256", WORD),
        Column("item_id", ID),
        Column("pixels_sha256", WORD, nullable=False),
        Column("serial", NAME),
        Column("reason", WORD),
        Column("added_by", ID),
        Column("created_at", UTC_TIME, nullable=False),
        Column("revoked_at", UTC_TIME),
        foreign("sample", "added_by", "user.id"),
        foreign("sample", "blob_sha256", "blob.sha256"),
        foreign("sample", "item_id", "item.id"),
        foreign("sample", "mask_sha256", "blob.sha256"),
        foreign("sample", "product_id", "product.id"),
        check("sample", "role", "role IN ('train', 'calibration', 'holdout', 'defect')"),
        check("sample", "origin", "origin IN ('import', 'flagged', 'audit')"),
        unique("sample", "product_id", "pixels_sha256"),
        primary("sample", "id"),
    )
    op.create_index("ix_sample_item_id", "sample", ["item_id"])
    op.create_table(
        "snapshot_sample",
        Column("snapshot_id", ID, nullable=False),
        Column("sample_id", ID, nullable=False),
        Column("role", WORD, nullable=False),
        foreign("snapshot_sample", "sample_id", "sample.id"),
        foreign("snapshot_sample", "snapshot_id", "snapshot.id"),
        primary("snapshot_sample", "snapshot_id", "sample_id"),
    )
