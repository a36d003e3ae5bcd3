"""Tables of models: runs, versions, certificates and what they decide as."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, UniqueConstraint

from agent.store.columns import Sha, Utc, Word, made, metadata, one_of, refers, row_id

snapshot = Table(
    "snapshot",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    Column("sha256", Sha, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("product_id", "sha256"),
)

training_run = Table(
    "training_run",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    refers("snapshot_id", "snapshot.id", nullable=True),
    Column("trigger", Word, nullable=False),  # samples | cron | person | import | teach
    refers("requested_by", "user.id", nullable=True),
    Column(
        "state",
        Word,
        one_of("state", "queued", "running", "promoted", "rejected", "needs_person", "failed", "cancelled", "shadow"),
        nullable=False,
    ),
    Column("reason", sa.Text),
    Column("phase", Word),  # of model.progress.Progress, then calibrating, comparing
    Column("step", sa.Integer, nullable=False, server_default="0"),
    Column("steps", sa.Integer, nullable=False, server_default="0"),
    Column("loss", sa.Float),
    Column("losses", sa.JSON),  # [[step, loss], ...], thinned, for its curve
    Column("eta_s", sa.Float),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),  # processes that took it up
    Column("settings", sa.JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("heartbeat_at", Utc),
    Column("finished_at", Utc),
)

model_version = Table(
    "model_version",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    Column("number", sa.Integer, nullable=False),
    Column("state", Word, one_of("state", "candidate", "champion", "retired", "rejected"), nullable=False),
    refers("artifact_sha256", "blob.sha256"),
    refers("snapshot_id", "snapshot.id", nullable=True),
    refers("training_run_id", "training_run.id", nullable=True),
    refers("parent_id", "model_version.id", nullable=True),  # whose weights its training started from
    Column("teacher", Word, nullable=False),
    Column("manifest", sa.JSON, nullable=False),
    Column("metrics", sa.JSON, nullable=False),  # label-dependent figures, {} where there are no labels
    Column("reason", sa.Text),
    made(),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("product_id", "number"),
)
Index(
    "uq_model_version_champion",
    model_version.c.product_id,
    unique=True,
    sqlite_where=model_version.c.state == "champion",
    postgresql_where=model_version.c.state == "champion",
)

certificate = Table(
    "certificate",
    metadata,
    row_id(),
    refers("model_version_id", "model_version.id"),
    refers("snapshot_id", "snapshot.id", nullable=True),
    refers("epoch_id", "epoch.id", nullable=True),  # whose calibration set it is
    Column("look", sa.Integer, nullable=False),  # the j-th certificate on this epoch
    Column("calibration_sha256", Sha, nullable=False),  # of the scored calibration samples
    Column("n", sa.Integer, nullable=False),
    Column("record", sa.JSON, nullable=False),  # model.certificate.Certificate.to_dict()
    Column("created_at", Utc, nullable=False),
)

gate_report = Table(
    "gate_report",
    metadata,
    row_id(),
    refers("training_run_id", "training_run.id"),
    refers("model_version_id", "model_version.id"),
    Column("verdict", Word, one_of("verdict", "pass", "fail", "needs_person"), nullable=False),
    Column("words", sa.Text, nullable=False),
    Column("numbers", sa.JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

setting_version = Table(
    "setting_version",
    metadata,
    row_id(),
    Column("config_hash", Sha, nullable=False),  # as deployments name it
    Column("settings", sa.JSON, nullable=False),  # Settings.deciding
    Column("created_at", Utc, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    refers("model_version_id", "model_version.id"),
    refers("certificate_id", "certificate.id", nullable=True),
    Column("config_hash", Sha, nullable=False),
    Column("reason", sa.Text, nullable=False),
    made(),
    refers("by", "user.id", nullable=True),  # None: the gate
    Column("live_from", Utc, nullable=False),
    Column("live_until", Utc),
)
Index(
    "uq_deployment_live",
    deployment.c.product_id,
    unique=True,
    sqlite_where=deployment.c.live_until.is_(None),
    postgresql_where=deployment.c.live_until.is_(None),
)
