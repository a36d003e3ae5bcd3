"""Tables of how the installation itself fares: how far behind it is, how fast, and how much it stores."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Column, Table

from agent.store.columns import Big, Name, Utc, Word, metadata, refers

lag_minute = Table(
    "lag_minute",
    metadata,
    Column("start", Utc, primary_key=True),
    refers("stream_id", "stream.id", primary_key=True),
    Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    Column("lag", Big, nullable=False),  # frames on the log that are not recorded, as last seen in that minute
    sqlite_with_rowid=False,
)

stage_minute = Table(
    "stage_minute",
    metadata,
    Column("start", Utc, primary_key=True),
    Column("stage", Word, primary_key=True),  # decode | score | evidence | record | decision
    Column("bin", sa.Integer, primary_key=True, autoincrement=False),  # floor(8 log2(1 + ms))
    Column("n", Big, nullable=False),
    sqlite_with_rowid=False,
)

storage_hour = Table(
    "storage_hour",
    metadata,
    Column("start", Utc, primary_key=True),
    Column("subject", Name, primary_key=True),  # blobs | database | evidence | disk:HOST:FOLDER
    Column("held", Big, nullable=False),  # bytes
    Column("room", Big),  # bytes until it is full, or at its limit; None: there is none that we know
    Column("at", Utc, nullable=False),  # when that was measured
    sqlite_with_rowid=False,
)
