"""Tables of the plant: what is made, where it is seen, how its cameras fare, and what somebody must look at."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Index, Table

from agent.store.columns import Big, Name, Utc, Word, metadata, one_of, refers, row_id

product = Table(
    "product",
    metadata,
    row_id(),
    Column("name", Name, nullable=False, unique=True),
    Column("teacher", Word),  # None: the configured teacher
    Column("review_rate", sa.Float),  # None: the configured rate; used by the next certificate
    Column("input", sa.JSON(none_as_null=True)),  # keys of settings.Input, and ignore; what is missing: as configured
    Column("created_at", Utc, nullable=False),
    Column("retired_at", Utc),
)

station = Table(
    "station",
    metadata,
    row_id(),
    Column("name", Name, nullable=False, unique=True),
    refers("product_id", "product.id", nullable=True),  # what it runs when a frame does not say
    Column("audit_rate", sa.Float),  # None: the configured rate
    Column("status", Word, one_of("status", "ok", "blind"), nullable=False, server_default="ok"),
    Column("status_since", Utc),
    Column("failures_in_row", sa.Integer, nullable=False, server_default="0"),
    Column("last_frame_at", Utc),
    Column("silent_after_s", sa.Float),  # None: the configured time; 0: never
    Column("created_at", Utc, nullable=False),
    Column("retired_at", Utc),
)

changeover = Table(
    "changeover",
    metadata,
    row_id(),
    refers("station_id", "station.id"),
    refers("stream_id", "stream.id"),
    Column("partition", sa.Integer, nullable=False),
    Column("from_offset", Big, nullable=False),  # the first frame of the new product, where frames name none
    refers("product_id", "product.id"),
    refers("previous_product_id", "product.id", nullable=True),  # what the station ran before that offset
    Column("created_at", Utc, nullable=False),
)
Index("ix_changeover_station_id", changeover.c.station_id, changeover.c.stream_id, changeover.c.partition)

camera_history = Table(
    "camera_history",
    metadata,
    refers("station_id", "station.id", primary_key=True),
    Column("measure", Word, primary_key=True),
    Column("n", Big, nullable=False),
    Column("mean", sa.Float, nullable=False),
    Column("variance", sa.Float, nullable=False),
    Column("updated_at", Utc, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    row_id(),
    Column("kind", Word, nullable=False),  # such as station_blind, camera_frozen, data_gap
    Column("subject", Name, nullable=False),  # whose: station:S, partition:TOPIC/P, agent:NAME, ...
    Column("level", Word, one_of("level", "warning", "error"), nullable=False),
    Column("words", sa.Text, nullable=False),
    Column("detail", sa.JSON, nullable=False),
    Column("n", Big, nullable=False),  # how often it was raised while open
    Column("opened_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("closed_at", Utc),
    refers("acknowledged_by", "user.id", nullable=True),
    Column("acknowledged_at", Utc),
    Column("attempts", sa.Integer, nullable=False, server_default="0"),  # of the webhook
    Column("next_attempt_at", Utc),  # None: nothing is to be sent
    Column("sent_at", Utc),
    Column("message", Name),  # the webhook's, which may have arrived or not; None: none is under way
)
Index(
    "ix_alert_open",
    alert.c.kind,
    alert.c.subject,
    unique=True,
    sqlite_where=alert.c.closed_at.is_(None),
    postgresql_where=alert.c.closed_at.is_(None),
)
Index("ix_alert_next_attempt_at", alert.c.next_attempt_at)
Index("ix_alert_closed_at", alert.c.closed_at)
