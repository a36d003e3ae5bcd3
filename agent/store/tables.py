"""The tables of goodpart, one metadata for SQLite and PostgreSQL.

Times are timezone-aware UTC in Python (`Utc`). Hashes are lower-case hex SHA-256. What each table means stands in
docs/database.md; the migrations under `migrations/versions` build exactly these tables (a test compares them).
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Index, Table, UniqueConstraint, event

from agent.store.access import credential as credential
from agent.store.access import session as session
from agent.store.columns import Big, Name, Sha, Utc, Word, made, one_of, position, refers, row_id
from agent.store.columns import metadata as metadata
from agent.store.gauges import lag_minute as lag_minute
from agent.store.gauges import stage_minute as stage_minute
from agent.store.gauges import storage_hour as storage_hour
from agent.store.learning import certificate as certificate
from agent.store.learning import deployment as deployment
from agent.store.learning import gate_report as gate_report
from agent.store.learning import model_version as model_version
from agent.store.learning import setting_version as setting_version
from agent.store.learning import snapshot as snapshot
from agent.store.learning import training_run as training_run
from agent.store.loop import audit_window as audit_window
from agent.store.loop import calibration_score as calibration_score
from agent.store.loop import drift as drift
from agent.store.loop import epoch as epoch
from agent.store.loop import replay as replay
from agent.store.loop import sample as sample
from agent.store.loop import sample_vector as sample_vector
from agent.store.loop import shadow_score as shadow_score
from agent.store.loop import snapshot_sample as snapshot_sample
from agent.store.loop import taught as taught
from agent.store.loop import teaching as teaching
from agent.store.loop import watch as watch
from agent.store.loop import withdrawal as withdrawal
from agent.store.plant import alert as alert
from agent.store.plant import camera_history as camera_history
from agent.store.plant import changeover as changeover
from agent.store.plant import product as product
from agent.store.plant import station as station
from agent.store.rollups import closing_day as closing_day
from agent.store.rollups import closing_hour as closing_hour
from agent.store.rollups import closing_rollup as closing_rollup
from agent.store.rollups import rollup_hour as rollup_hour
from agent.store.rollups import rollup_minute as rollup_minute
from agent.store.rollups import rollup_quarter as rollup_quarter
from agent.store.rollups import score_bin as score_bin

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
    row_id(),
    Column("name", Name, nullable=False, unique=True),
    Column("role", Word, one_of("role", "viewer", "operator", "engineer", "admin"), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("disabled_at", Utc),
)

stream = Table(
    "stream",
    metadata,
    row_id(),
    Column("cluster_id", Name, nullable=False),
    Column("topic_id", Name, nullable=False),
    Column("topic", Name, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("cluster_id", "topic_id"),
)

consumer_offset = Table(
    "consumer_offset",
    metadata,
    refers("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("next_offset", Big, nullable=False),
    Column("leader_epoch", Big),  # the broker's, of what is before it; NULL where unknown
    Column("numbers", sa.JSON(none_as_null=True)),  # ce_sequence of each station's last frame before it: offsets.Number
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
    row_id(),
    refers("stream_id", "stream.id"),
    Column("partition", sa.Integer, nullable=False),
    Column("from_offset", Big, nullable=False),
    Column("to_offset", Big, nullable=False),
    Column("kind", Word, nullable=False),  # below_start | beyond_end | truncated
    Column("created_at", Utc, nullable=False),
)

blob = Table(
    "blob",
    metadata,
    Column("sha256", Sha, primary_key=True),
    Column("bytes", Big, nullable=False),
    Column("media_type", Word, nullable=False),
    Column("state", Word, one_of("state", "pending", "stored", "deleting"), nullable=False),
    Column("touched_at", Utc, nullable=False),
)

inspection = Table(
    "inspection",
    metadata,
    Column("event_at", Utc, primary_key=True),
    refers("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("offset", Big, primary_key=True, autoincrement=False),
    Column("frame_id", Name, nullable=False),
    refers("station_id", "station.id"),
    refers("product_id", "product.id"),
    Column("serial", Name),
    Column("lot", Name),
    Column("verdict", Word, one_of("verdict", "pass", "review", "reject", "not_inspected"), nullable=False),
    Column("reason", Word),
    Column("score", sa.Float),
    Column("p_value", sa.Float),
    Column("severity", sa.Float),
    refers("deployment_id", "deployment.id", nullable=True),
    Column("captured_at", Utc),
    Column("decided_at", Utc, nullable=False),
    Column("latency_ms", sa.Float, nullable=False),  # decided_at - event_at
    Column("score_ms", sa.Float),
    Column("late", sa.Boolean, nullable=False),
    Column("clock_suspect", sa.Boolean, nullable=False),
    postgresql_partition_by="RANGE (event_at)",  # by UTC day: store.partitions
)


def _add_default_partition(_: Table, conn: Connection, **__: object) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text("CREATE TABLE inspection_default PARTITION OF inspection DEFAULT"))


event.listen(inspection, "after_create", _add_default_partition)
Index("ix_inspection_station_id_event_at", inspection.c.station_id, inspection.c.event_at)

Index(
    "ix_inspection_serial",
    inspection.c.serial,
    inspection.c.event_at,
    sqlite_where=inspection.c.serial.is_not(None),
    postgresql_where=inspection.c.serial.is_not(None),
)

item = Table(
    "item",
    metadata,
    row_id(),
    *position(),
    Column("event_at", Utc, nullable=False),
    Column("frame_id", Name, nullable=False),
    refers("station_id", "station.id"),
    refers("product_id", "product.id"),
    Column("serial", Name),
    Column("lot", Name),
    Column("kind", Word, one_of("kind", "flagged", "audit", "failed", "teach"), nullable=False),
    Column("state", Word, one_of("state", "open", "escalated", "closed"), nullable=False),
    Column("decision", Word),  # of the closing review: normal | defect
    Column("verdict", Word, nullable=False),
    Column("reason", Word),
    Column("score", sa.Float),
    Column("p_value", sa.Float),
    Column("severity", sa.Float),
    refers("deployment_id", "deployment.id", nullable=True),
    refers("frame_sha256", "blob.sha256", nullable=True),  # None once retention has let the evidence go
    # Of the decoded RGB pixels and their shape; None where there are none, or it is older than this column.
    Column("pixels_sha256", Sha),
    refers("heatmap_sha256", "blob.sha256", nullable=True),  # float16 map over the frame, at most 512 px, .npy
    refers("preview_sha256", "blob.sha256", nullable=True),  # WebP, at most 1600 px
    refers("overlay_sha256", "blob.sha256", nullable=True),  # WebP, the preview under its coloured heatmap
    refers("thumbnail_sha256", "blob.sha256", nullable=True),
    Column("created_at", Utc, nullable=False),
    Column("closed_at", Utc),
    Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),  # its evidence is never let go
    Column("released_at", Utc),  # when retention let its evidence go
    Column("watched", sa.Boolean, nullable=False, server_default=sa.false()),  # of a watch: reviewed first
    refers("judged_by", "user.id", nullable=True),  # decided first or was unsure, while another has to decide
    Column("agreed", sa.Boolean),  # whether the second of two people said what the first did; None: it had not two
    # WebP, as the overlay, by the other one of two models that disagree on it.
    refers("other_overlay_sha256", "blob.sha256", nullable=True),
    # Of its record: (name, text) pairs, a few kilobytes at most; NULL where it is older than this column.
    Column("headers", sa.JSON(none_as_null=True)),
    UniqueConstraint("stream_id", "partition", "offset"),
)
Index("ix_item_state_id", item.c.state, item.c.id)
# The queue, of all, of one product and of one station: the few watched ones first, then the others, oldest first.
Index("ix_item_state_watched_id", item.c.state, item.c.watched, item.c.id)
Index("ix_item_product_id_state_watched_id", item.c.product_id, item.c.state, item.c.watched, item.c.id)
Index("ix_item_station_id_state_watched_id", item.c.station_id, item.c.state, item.c.watched, item.c.id)
Index("ix_item_event_at", item.c.event_at)
# The newest first: without these SQLite takes an index that begins alike and sorts everything it finds there.
Index("ix_item_state_event_at_id", item.c.state, item.c.event_at, item.c.id)
Index("ix_item_product_id_event_at_id", item.c.product_id, item.c.event_at, item.c.id)
Index("ix_item_station_id_event_at_id", item.c.station_id, item.c.event_at, item.c.id)
# A word in the text of a query, as an index of some rows asks for it: SQLite does not look into a bound value.
CLOSED: sa.ColumnElement[str] = sa.literal_column("'closed'")
ITEM_WAITS = sa.and_(item.c.state != CLOSED, item.c.serial.is_not(None))
ITEM_PICTURED = sa.and_(item.c.state == CLOSED, item.c.preview_sha256.is_not(None))
# What of a part waits, and the newest judged picture of a station: however many items there are.
Index("ix_item_waiting", item.c.product_id, item.c.serial, sqlite_where=ITEM_WAITS, postgresql_where=ITEM_WAITS)
Index("ix_item_pictured", item.c.station_id, item.c.id, sqlite_where=ITEM_PICTURED, postgresql_where=ITEM_PICTURED)
ITEM_NAMED = item.c.serial.is_not(None)
Index("ix_item_serial_event_at", item.c.serial, item.c.event_at, sqlite_where=ITEM_NAMED, postgresql_where=ITEM_NAMED)
ITEM_PAIRED = item.c.agreed.is_not(None)
Index(
    "ix_item_agreed", item.c.event_at, item.c.product_id, item.c.station_id, item.c.lot, item.c.agreed,
    sqlite_where=ITEM_PAIRED, postgresql_where=ITEM_PAIRED,
)  # fmt: skip
Index("ix_item_product_id_kind_event_at", item.c.product_id, item.c.kind, item.c.event_at)

item_vector = Table(
    "item_vector",
    metadata,
    refers("item_id", "item.id", primary_key=True),
    Column("space", Sha, nullable=False),  # of the features: SHA-256 of the teacher's weights and the model's input
    Column("features", sa.LargeBinary, nullable=False),  # the scorer's pooled ones, a float16 unit vector
    Column("heatmap", sa.LargeBinary, nullable=False),  # 16 x 16 bytes over the frame, scaled from low .. high
    Column("low", sa.Float, nullable=False),
    Column("high", sa.Float, nullable=False),
)

review = Table(
    "review",
    metadata,
    row_id(),
    refers("item_id", "item.id", index=True),
    refers("user_id", "user.id"),
    Column("decision", Word, one_of("decision", "normal", "defect", "unsure", "undo"), nullable=False),
    Column("reason", Word),  # the defect's reason code
    Column("note", sa.Text),
    Column("state", Word),  # of the item after it: open | escalated | closed; None: an undo
    Column("created_at", Utc, nullable=False),
)
Index("ix_review_user_id_id", review.c.user_id, review.c.id)  # what one said last
Index("ix_review_state_created_at", review.c.state, review.c.created_at)  # those that left an item open: agreement

claim = Table(
    "claim",
    metadata,
    refers("item_id", "item.id", primary_key=True),
    refers("user_id", "user.id", index=True),
    Column("expires_at", Utc, nullable=False),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    row_id(),
    *position(),
    Column("station", Name),  # as the frame named it, registered or not; None where it named none
    Column("reason", Word, nullable=False),
    Column("detail", sa.Text, nullable=False),
    made(),
    Column("headers", sa.JSON, nullable=False),
    Column("value_sha256", Sha, nullable=False),
    refers("blob_sha256", "blob.sha256", nullable=True),  # None: beyond the quota, or let go
    Column("counted", sa.Boolean, nullable=False),  # False: the frame has an inspection of its own
    Column("created_at", Utc, nullable=False),
    refers("preview_sha256", "blob.sha256", nullable=True),  # WebP, at most 1600 px; made when somebody asks for it
    Column("replayed_at", Utc),  # when it was last published again
    Column("discarded_at", Utc),  # when a person said that it need not be
    UniqueConstraint("stream_id", "partition", "offset"),
)
# Counts of those that wait need no other column; those that were dealt with are few.
LETTER_WAITS = sa.and_(dead_letter.c.replayed_at.is_(None), dead_letter.c.discarded_at.is_(None))
LETTER_DONE = sa.or_(dead_letter.c.replayed_at.is_not(None), dead_letter.c.discarded_at.is_not(None))
Index(
    "ix_dead_letter_waiting",
    dead_letter.c.reason,
    dead_letter.c.station,
    dead_letter.c.blob_sha256,
    sqlite_where=LETTER_WAITS,
    postgresql_where=LETTER_WAITS,
)
Index(
    "ix_dead_letter_done",
    dead_letter.c.reason,
    dead_letter.c.discarded_at,
    sqlite_where=LETTER_DONE,
    postgresql_where=LETTER_DONE,
)
Index("ix_dead_letter_quota", dead_letter.c.station, dead_letter.c.reason, dead_letter.c.created_at)
Index(
    "ix_dead_letter_without_bytes",
    dead_letter.c.created_at,
    sqlite_where=dead_letter.c.blob_sha256.is_(None),
    postgresql_where=dead_letter.c.blob_sha256.is_(None),
)

outbox = Table(
    "outbox",
    metadata,
    row_id(),
    *position(),
    Column("key", Name, nullable=False),
    Column("value", sa.LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("stream_id", "partition", "offset"),  # one decision a frame; also the order of relaying
)

frame_seen = Table(
    "frame_seen",
    metadata,
    refers("station_id", "station.id", primary_key=True),
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
    row_id(),
    Column("kind", Word, nullable=False),
    Column("args", sa.JSON, nullable=False),
    refers("by", "user.id"),
    Column("state", Word, one_of("state", "queued", "running", "done", "failed"), nullable=False),
    Column("result", sa.JSON),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
)
Index("ix_command_finished_at", command.c.finished_at)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("key", Name, primary_key=True),
    refers("user_id", "user.id"),
    Column("action", Word, nullable=False),
    Column("request", Sha, nullable=False),  # of the arguments: the same key for other ones is refused
    Column("result", sa.JSON),
    Column("created_at", Utc, nullable=False),
)

audit_event = Table(
    "audit_event",
    metadata,
    row_id(),
    Column("at", Utc, nullable=False),
    refers("user_id", "user.id", nullable=True),  # None: the agent itself
    Column("action", Word, nullable=False),
    Column("subject", Name, nullable=False),
    Column("detail", sa.JSON, nullable=False),
    Column("previous", Sha, nullable=False, unique=True),  # '0' * 64 for the first; unique: one chain, no forks
    Column("hash", Sha, nullable=False),
)
