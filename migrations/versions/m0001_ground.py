"""People, the line, models and work; and the row that names this installation.

Revision ID: 0001
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

from migrations.pieces import BIG, ID, NAME, UTC_TIME, WORD, check, foreign, primary, unique

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "install",
    "user",
    "product",
    "station",
    "stream",
    "consumer_offset",
    "data_gap",
    "blob",
    "snapshot",
    "training_run",
    "model_version",
    "certificate",
    "gate_report",
    "deployment",
    "lease",
    "command",
    "idempotency_key",
    "audit_event",
)


def upgrade() -> None:
    """Makes the tables."""
    _people_and_line()
    _models()
    _work()
    install = sa.table("install", *map(sa.column, ("id", "install_id", "secret")), sa.column("created_at", UTC_TIME))
    now = datetime.now(UTC)
    row = {"id": 1, "install_id": uuid.uuid4().hex[:12], "secret": os.urandom(32), "created_at": now}
    op.bulk_insert(install, [row])


def downgrade() -> None:
    """Drops them, with everything in them."""
    for table in TABLES[::-1]:
        op.drop_table(table)


def _people_and_line() -> None:
    op.create_table(
        "install",
        Column("id", sa.Integer, autoincrement=False, nullable=False),
        Column("install_id", WORD, nullable=False),
        Column("secret", sa.LargeBinary(32), nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        check("install", "single", "id = 1"),
        primary("install", "id"),
    )
    op.create_table(
        "user",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("name", NAME, nullable=False),
        Column("role", WORD, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        Column("disabled_at", UTC_TIME),
        check("user", "role", "role IN ('viewer', 'operator', 'engineer', 'admin')"),
        unique("user", "name"),
        primary("user", "id"),
    )
    op.create_table(
        "product",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("name", NAME, nullable=False),
        Column("teacher", WORD),
        Column("review_rate", sa.Float),
        Column("created_at", UTC_TIME, nullable=False),
        Column("retired_at", UTC_TIME),
        unique("product", "name"),
        primary("product", "id"),
    )
    op.create_table(
        "station",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("name", NAME, nullable=False),
        Column("product_id", ID),
        Column("audit_rate", sa.Float),
        Column("status", WORD, nullable=False, server_default="ok"),
        Column("status_since", UTC_TIME),
        Column("failures_in_row", sa.Integer, nullable=False, server_default="0"),
        Column("last_frame_at", UTC_TIME),
        Column("created_at", UTC_TIME, nullable=False),
        Column("retired_at", UTC_TIME),
        foreign("station", "product_id", "product.id"),
        check("station", "status", "status IN ('ok', 'blind')"),
        unique("station", "name"),
        primary("station", "id"),
    )
    op.create_table(
        "stream",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("cluster_id", NAME, nullable=False),
        Column("topic_id", NAME, nullable=False),
        Column("topic", NAME, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        unique("stream", "cluster_id", "topic_id"),
        primary("stream", "id"),
    )
    op.create_table(
        "consumer_offset",
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, autoincrement=False, nullable=False),
        Column("next_offset", BIG, nullable=False),
        Column("epoch", BIG, nullable=False),
        Column("holder", NAME, nullable=False),
        Column("received", BIG, nullable=False, server_default="0"),
        Column("inspected", BIG, nullable=False, server_default="0"),
        Column("not_inspected", BIG, nullable=False, server_default="0"),
        Column("dead_lettered", BIG, nullable=False, server_default="0"),
        Column("duplicate", BIG, nullable=False, server_default="0"),
        Column("claimed_at", UTC_TIME, nullable=False),
        Column("committed_at", UTC_TIME),
        foreign("consumer_offset", "stream_id", "stream.id"),
        primary("consumer_offset", "stream_id", "partition"),
    )
    op.create_table(
        "data_gap",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("stream_id", ID, nullable=False),
        Column("partition", sa.Integer, nullable=False),
        Column("from_offset", BIG, nullable=False),
        Column("to_offset", BIG, nullable=False),
        Column("kind", WORD, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("data_gap", "stream_id", "stream.id"),
        primary("data_gap", "id"),
    )
    op.create_table(
        "blob",
        Column("sha256", WORD, nullable=False),
        Column("bytes", BIG, nullable=False),
        Column("media_type", WORD, nullable=False),
        Column("state", WORD, nullable=False),
        Column("touched_at", UTC_TIME, nullable=False),
        check("blob", "state", "state IN ('pending', 'stored', 'deleting')"),
        primary("blob", "sha256"),
    )


def _models() -> None:
    op.create_table(
        "snapshot",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("sha256", WORD, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("snapshot", "product_id", "product.id"),
        unique("snapshot", "product_id", "sha256"),
        primary("snapshot", "id"),
    )
    op.create_table(
        "training_run",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("snapshot_id", ID),
        Column("trigger", WORD, nullable=False),
        Column("requested_by", ID),
        Column("state", WORD, nullable=False),
        Column("reason", sa.Text),
        Column("phase", WORD),
        Column("step", sa.Integer, nullable=False, server_default="0"),
        Column("steps", sa.Integer, nullable=False, server_default="0"),
        Column("loss", sa.Float),
        Column("eta_s", sa.Float),
        Column("settings", sa.JSON, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        Column("started_at", UTC_TIME),
        Column("heartbeat_at", UTC_TIME),
        Column("finished_at", UTC_TIME),
        foreign("training_run", "product_id", "product.id"),
        foreign("training_run", "requested_by", "user.id"),
        foreign("training_run", "snapshot_id", "snapshot.id"),
        check(
            "training_run",
            "state",
            "state IN ('queued', 'running', 'promoted', 'rejected', 'needs_person', 'failed', 'cancelled')",
        ),
        primary("training_run", "id"),
    )
    op.create_table(
        "model_version",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("number", sa.Integer, nullable=False),
        Column("state", WORD, nullable=False),
        Column("artifact_sha256", WORD, nullable=False),
        Column("snapshot_id", ID),
        Column("training_run_id", ID),
        Column("teacher", WORD, nullable=False),
        Column("manifest", sa.JSON, nullable=False),
        Column("metrics", sa.JSON, nullable=False),
        Column("reason", sa.Text),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("model_version", "artifact_sha256", "blob.sha256"),
        foreign("model_version", "product_id", "product.id"),
        foreign("model_version", "snapshot_id", "snapshot.id"),
        foreign("model_version", "training_run_id", "training_run.id"),
        check("model_version", "state", "state IN ('candidate', 'champion', 'retired', 'rejected')"),
        unique("model_version", "product_id", "number"),
        primary("model_version", "id"),
    )
    op.create_index(
        "uq_model_version_champion",
        "model_version",
        ["product_id"],
        unique=True,
        sqlite_where=sa.text("state = 'champion'"),
        postgresql_where=sa.text("state = 'champion'"),
    )
    op.create_table(
        "certificate",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("model_version_id", ID, nullable=False),
        Column("snapshot_id", ID),
        Column("look", sa.Integer, nullable=False),
        Column("calibration_sha256", WORD, nullable=False),
        Column("n", sa.Integer, nullable=False),
        Column("record", sa.JSON, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("certificate", "model_version_id", "model_version.id"),
        foreign("certificate", "snapshot_id", "snapshot.id"),
        primary("certificate", "id"),
    )
    op.create_table(
        "gate_report",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("training_run_id", ID, nullable=False),
        Column("model_version_id", ID, nullable=False),
        Column("verdict", WORD, nullable=False),
        Column("words", sa.Text, nullable=False),
        Column("numbers", sa.JSON, nullable=False),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("gate_report", "model_version_id", "model_version.id"),
        foreign("gate_report", "training_run_id", "training_run.id"),
        check("gate_report", "verdict", "verdict IN ('pass', 'fail', 'needs_person')"),
        primary("gate_report", "id"),
    )
    op.create_table(
        "deployment",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("product_id", ID, nullable=False),
        Column("model_version_id", ID, nullable=False),
        Column("certificate_id", ID),
        Column("config_hash", WORD, nullable=False),
        Column("reason", sa.Text, nullable=False),
        Column("by", ID),
        Column("live_from", UTC_TIME, nullable=False),
        Column("live_until", UTC_TIME),
        foreign("deployment", "by", "user.id"),
        foreign("deployment", "certificate_id", "certificate.id"),
        foreign("deployment", "model_version_id", "model_version.id"),
        foreign("deployment", "product_id", "product.id"),
        primary("deployment", "id"),
    )
    op.create_index(
        "uq_deployment_live",
        "deployment",
        ["product_id"],
        unique=True,
        sqlite_where=sa.text("live_until IS NULL"),
        postgresql_where=sa.text("live_until IS NULL"),
    )


def _work() -> None:
    op.create_table(
        "lease",
        Column("name", NAME, nullable=False),
        Column("holder", NAME, nullable=False),
        Column("token", BIG, nullable=False),
        Column("expires_at", UTC_TIME, nullable=False),
        primary("lease", "name"),
    )
    op.create_table(
        "command",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("kind", WORD, nullable=False),
        Column("args", sa.JSON, nullable=False),
        Column("by", ID, nullable=False),
        Column("state", WORD, nullable=False),
        Column("result", sa.JSON),
        Column("created_at", UTC_TIME, nullable=False),
        Column("finished_at", UTC_TIME),
        foreign("command", "by", "user.id"),
        check("command", "state", "state IN ('queued', 'running', 'done', 'failed')"),
        primary("command", "id"),
    )
    op.create_table(
        "idempotency_key",
        Column("key", NAME, nullable=False),
        Column("user_id", ID, nullable=False),
        Column("action", WORD, nullable=False),
        Column("request", WORD, nullable=False),
        Column("result", sa.JSON),
        Column("created_at", UTC_TIME, nullable=False),
        foreign("idempotency_key", "user_id", "user.id"),
        primary("idempotency_key", "key"),
    )
    op.create_table(
        "audit_event",
        Column("id", ID, autoincrement=True, nullable=False),
        Column("at", UTC_TIME, nullable=False),
        Column("user_id", ID),
        Column("action", WORD, nullable=False),
        Column("subject", NAME, nullable=False),
        Column("detail", sa.JSON, nullable=False),
        Column("previous", WORD, nullable=False),
        Column("hash", WORD, nullable=False),
        foreign("audit_event", "user_id", "user.id"),
        unique("audit_event", "previous"),
        primary("audit_event", "id"),
    )
