"""The tables of goodpart, one metadata for SQLite and PostgreSQL.

Times are timezone-aware UTC in Python (`Utc`). Hashes are lower-case hex SHA-256. What each table means stands in
docs/database.md; the migrations under `migrations/versions` build exactly these tables (a test compares them).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, UniqueConstraint
from sqlalchemy.engine import Dialect

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)


class Utc(sa.types.TypeDecorator[datetime]):
    """A point in time: aware UTC in Python, `timestamptz` on PostgreSQL, naive UTC text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: give it a timezone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite only auto-increments INTEGER PRIMARY KEY.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Big = sa.BigInteger()
Sha = sa.String(64)
Word = sa.String(64)
Name = sa.String(200)


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _fk(name: str, target: str, **options: Any) -> Column[Any]:
    kind = Sha if target == "blob.sha256" else Id
    return Column(name, kind, ForeignKey(target), **{"nullable": False, **options})


def _one_of(column: str, *words: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _position() -> list[Column[Any]]:
    return [
        _fk("stream_id", "stream.id"),
        Column("partition", sa.Integer, nullable=False),
        Column("offset", Big, nullable=False),
    ]


install = Table(
    "install",
    metadata,
    Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="single"), primary_key=True, autoincrement=False),
    Column("install_id", Word, nullable=False),
    Column("secret", sa.LargeBinary(32), nullable=False),
    Column("created_at", Utc, nullable=False),
)

user = Table(
    "user",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    Column("role", Word, _one_of("role", "viewer", "operator", "engineer", "admin"), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("disabled_at", Utc),
)

product = Table(
    "product",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    Column("teacher", Word),  # None: the configured teacher
    Column("review_rate", sa.Float),  # None: the configured rate; used by the next certificate
    Column("created_at", Utc, nullable=False),
    Column("retired_at", Utc),
)

station = Table(
    "station",
    metadata,
    _id(),
    Column("name", Name, nullable=False, unique=True),
    _fk("product_id", "product.id", nullable=True),  # what it runs when a frame does not say
    Column("audit_rate", sa.Float),  # None: the configured rate
    Column("status", Word, _one_of("status", "ok", "blind"), nullable=False, server_default="ok"),
    Column("status_since", Utc),
    Column("failures_in_row", sa.Integer, nullable=False, server_default="0"),
    Column("last_frame_at", Utc),
    Column("created_at", Utc, nullable=False),
    Column("retired_at", Utc),
)

stream = Table(
    "stream",
    metadata,
    _id(),
    Column("cluster_id", Name, nullable=False),
    Column("topic_id", Name, nullable=False),
    Column("topic", Name, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("cluster_id", "topic_id"),
)

consumer_offset = Table(
    "consumer_offset",
    metadata,
    _fk("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("next_offset", Big, nullable=False),
    Column("epoch", Big, nullable=False),
    Column("holder", Name, nullable=False),
    Column("received", Big, nullable=False, server_default="0"),
    Column("inspected", Big, nullable=False, server_default="0"),
    Column("not_inspected", Big, nullable=False, server_default="0"),
    Column("dead_lettered", Big, nullable=False, server_default="0"),
    Column("duplicate", Big, nullable=False, server_default="0"),
    Column("claimed_at", Utc, nullable=False),
    Column("committed_at", Utc),
)

data_gap = Table(
    "data_gap",
    metadata,
    _id(),
    _fk("stream_id", "stream.id"),
    Column("partition", sa.Integer, nullable=False),
    Column("from_offset", Big, nullable=False),
    Column("to_offset", Big, nullable=False),
    Column("kind", Word, nullable=False),  # below_start | beyond_end
    Column("created_at", Utc, nullable=False),
)

blob = Table(
    "blob",
    metadata,
    Column("sha256", Sha, primary_key=True),
    Column("bytes", Big, nullable=False),
    Column("media_type", Word, nullable=False),
    Column("state", Word, _one_of("state", "pending", "stored", "deleting"), nullable=False),
    Column("touched_at", Utc, nullable=False),
)

snapshot = Table(
    "snapshot",
    metadata,
    _id(),
    _fk("product_id", "product.id"),
    Column("sha256", Sha, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("product_id", "sha256"),
)

training_run = Table(
    "training_run",
    metadata,
    _id(),
    _fk("product_id", "product.id"),
    _fk("snapshot_id", "snapshot.id", nullable=True),
    Column("trigger", Word, nullable=False),  # samples | cron | person | import
    _fk("requested_by", "user.id", nullable=True),
    Column(
        "state",
        Word,
        _one_of("state", "queued", "running", "promoted", "rejected", "needs_person", "failed", "cancelled"),
        nullable=False,
    ),
    Column("reason", sa.Text),
    Column("phase", Word),  # features | training | calibrating | comparing
    Column("step", sa.Integer, nullable=False, server_default="0"),
    Column("steps", sa.Integer, nullable=False, server_default="0"),
    Column("loss", sa.Float),
    Column("eta_s", sa.Float),
    Column("settings", sa.JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("heartbeat_at", Utc),
    Column("finished_at", Utc),
)

model_version = Table(
    "model_version",
    metadata,
    _id(),
    _fk("product_id", "product.id"),
    Column("number", sa.Integer, nullable=False),
    Column("state", Word, _one_of("state", "candidate", "champion", "retired", "rejected"), nullable=False),
    _fk("artifact_sha256", "blob.sha256"),
    _fk("snapshot_id", "snapshot.id", nullable=True),
    _fk("training_run_id", "training_run.id", nullable=True),
    Column("teacher", Word, nullable=False),
    Column("manifest", sa.JSON, nullable=False),
    Column("metrics", sa.JSON, nullable=False),  # label-dependent figures, {} where there are no labels
    Column("reason", sa.Text),
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
    _id(),
    _fk("model_version_id", "model_version.id"),
    _fk("snapshot_id", "snapshot.id", nullable=True),
    Column("look", sa.Integer, nullable=False),  # the j-th certificate on this calibration set
    Column("calibration_sha256", Sha, nullable=False),  # of the scored calibration samples
    Column("n", sa.Integer, nullable=False),
    Column("record", sa.JSON, nullable=False),  # model.certificate.Certificate.to_dict()
    Column("created_at", Utc, nullable=False),
)

gate_report = Table(
    "gate_report",
    metadata,
    _id(),
    _fk("training_run_id", "training_run.id"),
    _fk("model_version_id", "model_version.id"),
    Column("verdict", Word, _one_of("verdict", "pass", "fail", "needs_person"), nullable=False),
    Column("words", sa.Text, nullable=False),
    Column("numbers", sa.JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    _id(),
    _fk("product_id", "product.id"),
    _fk("model_version_id", "model_version.id"),
    _fk("certificate_id", "certificate.id", nullable=True),
    Column("config_hash", Sha, nullable=False),
    Column("reason", sa.Text, nullable=False),
    _fk("by", "user.id", nullable=True),  # None: the gate
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

inspection = Table(
    "inspection",
    metadata,
    Column("event_at", Utc, primary_key=True),
    _fk("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("offset", Big, primary_key=True, autoincrement=False),
    Column("frame_id", Name, nullable=False),
    _fk("station_id", "station.id"),
    _fk("product_id", "product.id"),
    Column("serial", Name),
    Column("lot", Name),
    Column("verdict", Word, _one_of("verdict", "pass", "review", "reject", "not_inspected"), nullable=False),
    Column("reason", Word),
    Column("score", sa.Float),
    Column("p_value", sa.Float),
    Column("severity", sa.Float),
    _fk("deployment_id", "deployment.id", nullable=True),
    Column("captured_at", Utc),
    Column("decided_at", Utc, nullable=False),
    Column("latency_ms", sa.Float, nullable=False),  # decided_at - event_at
    Column("score_ms", sa.Float),
    Column("late", sa.Boolean, nullable=False),
    Column("clock_suspect", sa.Boolean, nullable=False),
)
Index("ix_inspection_station_id_event_at", inspection.c.station_id, inspection.c.event_at)

item = Table(
    "item",
    metadata,
    _id(),
    *_position(),
    Column("event_at", Utc, nullable=False),
    Column("frame_id", Name, nullable=False),
    _fk("station_id", "station.id"),
    _fk("product_id", "product.id"),
    Column("serial", Name),
    Column("lot", Name),
    Column("kind", Word, _one_of("kind", "flagged", "audit", "failed"), nullable=False),
    Column("state", Word, _one_of("state", "open", "escalated", "closed"), nullable=False),
    Column("decision", Word),  # of the closing review: normal | defect
    Column("verdict", Word, nullable=False),
    Column("reason", Word),
    Column("score", sa.Float),
    Column("p_value", sa.Float),
    Column("severity", sa.Float),
    _fk("deployment_id", "deployment.id", nullable=True),
    _fk("frame_sha256", "blob.sha256"),
    _fk("heatmap_sha256", "blob.sha256", nullable=True),  # float16 map at model-input size, .npy
    _fk("preview_sha256", "blob.sha256", nullable=True),  # WebP, at most 1600 px
    _fk("overlay_sha256", "blob.sha256", nullable=True),  # WebP, the preview under its coloured heatmap
    _fk("thumbnail_sha256", "blob.sha256", nullable=True),
    Column("created_at", Utc, nullable=False),
    Column("closed_at", Utc),
    UniqueConstraint("stream_id", "partition", "offset"),
)
Index("ix_item_state_id", item.c.state, item.c.id)

review = Table(
    "review",
    metadata,
    _id(),
    _fk("item_id", "item.id", index=True),
    _fk("user_id", "user.id"),
    Column("decision", Word, _one_of("decision", "normal", "defect", "unsure", "undo"), nullable=False),
    Column("reason", Word),  # the defect's reason code
    Column("note", sa.Text),
    Column("created_at", Utc, nullable=False),
)

claim = Table(
    "claim",
    metadata,
    _fk("item_id", "item.id", primary_key=True),
    _fk("user_id", "user.id"),
    Column("expires_at", Utc, nullable=False),
)

sample = Table(
    "sample",
    metadata,
    _id(),
    _fk("product_id", "product.id"),
    Column("role", Word, _one_of("role", "train", "calibration", "holdout", "defect"), nullable=False),
    Column("origin", Word, _one_of("origin", "import", "flagged", "audit"), nullable=False),
    _fk("blob_sha256", "blob.sha256"),
    _fk("mask_sha256", "blob.sha256", nullable=True),
    _fk("item_id", "item.id", nullable=True, index=True),
    Column("pixels_sha256", Sha, nullable=False),  # of the decoded RGB pixels and their shape
    Column("serial", Name),
    Column("reason", Word),  # the defect's reason code
    _fk("added_by", "user.id", nullable=True),
    Column("created_at", Utc, nullable=False),
    Column("revoked_at", Utc),
    UniqueConstraint("product_id", "pixels_sha256"),
)

snapshot_sample = Table(
    "snapshot_sample",
    metadata,
    _fk("snapshot_id", "snapshot.id", primary_key=True),
    _fk("sample_id", "sample.id", primary_key=True),
    Column("role", Word, nullable=False),  # the sample's role when it was frozen; a revoked sample may get another
)

_VERDICTS = ("pass", "review", "reject", "not_inspected")


def _rollup(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("start", Utc, primary_key=True),
        _fk("station_id", "station.id", primary_key=True),
        _fk("product_id", "product.id", primary_key=True),
        Column("lot", Name, primary_key=True),  # '' where the frame names none
        Column("deployment_id", Id, primary_key=True, autoincrement=False),  # 0 where none decided
        *(Column(f"n_{verdict}", Big, nullable=False) for verdict in _VERDICTS),
        Column("n_late", Big, nullable=False),
        Column("sum_latency_ms", sa.Float, nullable=False),
    )


rollup_minute = _rollup("rollup_minute")
rollup_quarter = _rollup("rollup_quarter")

review_rollup = Table(
    "review_rollup",
    metadata,
    Column("start", Utc, primary_key=True),  # the quarter of the item's event_at
    _fk("station_id", "station.id", primary_key=True),
    _fk("product_id", "product.id", primary_key=True),
    Column("deployment_id", Id, primary_key=True, autoincrement=False),
    Column("decision", Word, primary_key=True),
    Column("reason", Word, primary_key=True),  # '' where none
    Column("n", Big, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    _id(),
    *_position(),
    Column("station", Name),  # as the frame named it, registered or not; None where it named none
    Column("reason", Word, nullable=False),
    Column("detail", sa.Text, nullable=False),
    Column("headers", sa.JSON, nullable=False),
    Column("value_sha256", Sha, nullable=False),
    _fk("blob_sha256", "blob.sha256", nullable=True),  # None: beyond the quota
    Column("counted", sa.Boolean, nullable=False),  # False: the frame has an inspection of its own
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("stream_id", "partition", "offset"),
)
Index("ix_dead_letter_quota", dead_letter.c.station, dead_letter.c.reason, dead_letter.c.created_at)

outbox = Table(
    "outbox",
    metadata,
    _id(),
    *_position(),
    Column("key", Name, nullable=False),
    Column("value", sa.LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("stream_id", "partition", "offset"),  # one decision a frame; also the order of relaying
)

frame_seen = Table(
    "frame_seen",
    metadata,
    _fk("station_id", "station.id", primary_key=True),
    Column("frame_id", Name, primary_key=True),
    Column("seen_at", Utc, nullable=False, index=True),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Name, primary_key=True),
    Column("holder", Name, nullable=False),
    Column("token", Big, nullable=False),  # fencing token, rises with every acquisition
    Column("expires_at", Utc, nullable=False),
)

command = Table(
    "command",
    metadata,
    _id(),
    Column("kind", Word, nullable=False),
    Column("args", sa.JSON, nullable=False),
    _fk("by", "user.id"),
    Column("state", Word, _one_of("state", "queued", "running", "done", "failed"), nullable=False),
    Column("result", sa.JSON),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("key", Name, primary_key=True),
    _fk("user_id", "user.id"),
    Column("action", Word, nullable=False),
    Column("request", Sha, nullable=False),  # of the arguments: the same key for other ones is refused
    Column("result", sa.JSON),
    Column("created_at", Utc, nullable=False),
)

audit_event = Table(
    "audit_event",
    metadata,
    _id(),
    Column("at", Utc, nullable=False),
    _fk("user_id", "user.id", nullable=True),  # None: the agent itself
    Column("action", Word, nullable=False),
    Column("subject", Name, nullable=False),
    Column("detail", sa.JSON, nullable=False),
    Column("previous", Sha, nullable=False, unique=True),  # '0' * 64 for the first; unique: one chain, no forks
    Column("hash", Sha, nullable=False),
)
