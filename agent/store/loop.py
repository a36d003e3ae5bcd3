"""Tables of the learning loop: samples and the epochs they calibrate in, teaching, watches and drift."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table, UniqueConstraint

from agent.store.columns import Big, Name, Sha, Utc, Word, made, metadata, one_of, position, refers, row_id

epoch = Table(
    "epoch",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    Column("cause", Word, one_of("cause", "import", "teach", "stream", "drift", "camera", "person"), nullable=False),
    Column("words", sa.Text, nullable=False),  # why it was opened
    made(),
    Column("cuts", sa.Boolean, nullable=False),  # calibration sets before it no longer speak for the stream
    refers("by", "user.id", nullable=True),
    Column("opened_at", Utc, nullable=False),
    Column("closed_at", Utc),
)
Index(
    "uq_epoch_open",
    epoch.c.product_id,
    unique=True,
    sqlite_where=epoch.c.closed_at.is_(None),
    postgresql_where=epoch.c.closed_at.is_(None),
)

audit_window = Table(
    "audit_window",
    metadata,
    refers("product_id", "product.id", primary_key=True),
    Column("starts_at", Utc, primary_key=True),
    Column("ends_at", Utc, nullable=False),
    Column("drawn", sa.Integer, nullable=False),  # frames
    Column("normal", sa.Integer, nullable=False),
    Column("defect", sa.Integer, nullable=False),
    Column("admitted_at", Utc, nullable=False),
)

sample = Table(
    "sample",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    Column("role", Word, one_of("role", "train", "calibration", "holdout", "defect"), nullable=False),
    Column("origin", Word, one_of("origin", "import", "flagged", "audit"), nullable=False),
    refers("blob_sha256", "blob.sha256"),
    refers("mask_sha256", "blob.sha256", nullable=True),
    refers("item_id", "item.id", nullable=True, index=True),
    # Of the decoded RGB pixels and their shape; of the bytes where it came from an item that does not know them.
    Column("pixels_sha256", Sha, nullable=False),
    Column("serial", Name),
    Column("reason", Word),  # the defect's reason code
    refers("added_by", "user.id", nullable=True),
    # Of calibration and hold-out only; None while their audit window is undecided: nothing uses them before.
    refers("epoch_id", "epoch.id", nullable=True, index=True),
    Column(
        "state",
        Word,
        one_of("state", "proposed", "quarantined", "accepted", "refused"),
        nullable=False,
        server_default="accepted",
    ),
    Column("quarantine", sa.JSON(none_as_null=True)),  # what the check found; None: not checked
    refers("accepted_by", "user.id", nullable=True),  # None: the agent, or accepted as it was added
    Column("accepted_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("revoked_at", Utc),
    refers("station_id", "station.id", nullable=True),  # None: imported
    Column("lot", Name),
    refers("thumbnail_sha256", "blob.sha256", nullable=True),  # WebP; None: its item has one, or there is none
    UniqueConstraint("product_id", "pixels_sha256"),
)
# What waits, of all products and of one; with what the counts look at, so that these read no rows.
Index(
    "ix_sample_state_product_id_role",
    sample.c.state,
    sample.c.product_id,
    sample.c.role,
    sample.c.revoked_at,
    sample.c.epoch_id,
)
Index("ix_sample_product_id_id", sample.c.product_id, sample.c.id)  # the newest of a product
Index("ix_sample_product_id_serial", sample.c.product_id, sample.c.serial)

sample_vector = Table(
    "sample_vector",
    metadata,
    refers("sample_id", "sample.id", primary_key=True),
    Column("space", Sha, nullable=False),  # as of item_vector
    Column("features", sa.LargeBinary, nullable=False),
)

snapshot_sample = Table(
    "snapshot_sample",
    metadata,
    refers("snapshot_id", "snapshot.id", primary_key=True),
    refers("sample_id", "sample.id", primary_key=True),
    # As the sample was when it was frozen; a revoked one may come back as another part, in another role.
    Column("role", Word, nullable=False),
    Column("origin", Word, nullable=False),
    Column("serial", Name),
    Column("lot", Name),
    refers("station_id", "station.id", nullable=True),
    refers("epoch_id", "epoch.id", nullable=True),
)

withdrawal = Table(
    "withdrawal",
    metadata,
    row_id(),
    refers("sample_id", "sample.id", index=True),
    Column("reason", sa.Text, nullable=False),
    refers("asked_by", "user.id"),
    Column("asked_at", Utc, nullable=False),
    refers("decided_by", "user.id", nullable=True),
    Column("decision", Word, one_of("decision", "confirmed", "refused")),
    Column("decided_at", Utc),
)

calibration_score = Table(
    "calibration_score",
    metadata,
    refers("model_version_id", "model_version.id", primary_key=True),
    refers("sample_id", "sample.id", primary_key=True),
    Column("score", sa.Float, nullable=False),
    refers("preview_sha256", "blob.sha256", nullable=True),  # WebP, of the highest scores only
    refers("overlay_sha256", "blob.sha256", nullable=True),  # WebP, the preview under the version's coloured heatmap
)

teaching = Table(
    "teaching",
    metadata,
    refers("product_id", "product.id", primary_key=True),
    refers("station_id", "station.id"),
    Column("parts", sa.Integer, nullable=False),  # wanted
    Column("state", Word, one_of("state", "collecting", "looking", "training", "done", "cancelled"), nullable=False),
    refers("by", "user.id"),
    Column("started_at", Utc, nullable=False),
    Column("ended_at", Utc),
)

taught = Table(
    "taught",
    metadata,
    refers("item_id", "item.id", primary_key=True),
    Column("oddness", sa.Float, nullable=False),  # distance to the nearest of the other parts' patches
)

watch = Table(
    "watch",
    metadata,
    row_id(),
    refers("product_id", "product.id"),
    Column("kind", Word, one_of("kind", "shadow", "watch"), nullable=False),
    refers("deployment_id", "deployment.id"),  # what decides meanwhile
    refers("model_version_id", "model_version.id"),  # what scores beside it: the candidate, or the champion before
    refers("certificate_id", "certificate.id", nullable=True),  # of that version
    Column("share", sa.Float, nullable=False),  # of the parts, drawn before scoring
    Column("state", Word, one_of("state", "open", "kept", "rolled_back", "untrusted", "ended"), nullable=False),
    Column("words", sa.Text),
    made(),
    Column("numbers", sa.JSON),
    Column("opened_at", Utc, nullable=False),
    Column("closed_at", Utc),
)
Index(
    "uq_watch_open",
    watch.c.product_id,
    unique=True,
    sqlite_where=watch.c.state == "open",
    postgresql_where=watch.c.state == "open",
)

shadow_score = Table(
    "shadow_score",
    metadata,
    refers("watch_id", "watch.id", primary_key=True),
    refers("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("offset", Big, primary_key=True, autoincrement=False),
    Column("event_at", Utc, nullable=False),
    refers("station_id", "station.id"),
    Column("part", Name, nullable=False),  # serial, or the frame's id
    Column("flagged", sa.Boolean, nullable=False),  # by what decides
    Column("other_flagged", sa.Boolean, nullable=False),
    Column("score", sa.Float),
    Column("other_score", sa.Float),
)

replay = Table(
    "replay",
    metadata,
    Column("event_at", Utc, primary_key=True),  # of the inspection, and its record
    refers("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("offset", Big, primary_key=True, autoincrement=False),
    Column("live", sa.Boolean, primary_key=True),  # by what was live then, not by what had decided
    Column(
        "agreement",
        Word,
        one_of("agreement", "identical", "within_tolerance", "same_verdict", "different"),
        nullable=False,
    ),
    Column("verdict", Word, nullable=False),
    Column("reason", Word),
    Column("score", sa.Float),
    refers("deployment_id", "deployment.id", nullable=True),
    Column("engine", sa.Text),  # the scorer's fingerprint
    refers("by", "user.id", nullable=True),
    Column("at", Utc, nullable=False),
)

drift = Table(
    "drift",
    metadata,
    refers("product_id", "product.id", primary_key=True),
    refers("station_id", "station.id", primary_key=True),
    refers("epoch_id", "epoch.id"),  # whose calibration scores the ranks begin with
    refers("deployment_id", "deployment.id"),
    Column("stream", sa.Integer, nullable=False),  # s: counts alarms and new epochs from 1
    Column("n", Big, nullable=False),
    Column("log_wealth", sa.Float, nullable=False),
    Column("state", sa.JSON, nullable=False),  # the martingale, and parts whose frames may still come
    Column("began_at", Utc, nullable=False),  # of the stream: no part from before is counted
    Column("read_until", Utc, nullable=False),  # event time of the last frame of the station that was read
    *position(),  # and its position
    Column("alarmed_at", Utc),  # event time of the part that raised the last alarm
    Column("alarm", sa.JSON(none_as_null=True)),  # of which stream, after how many parts, the evidence
    Column("updated_at", Utc, nullable=False),
)
