"""Tables of sums: what trends and histograms are drawn from, kept for good."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Table

from agent.store.columns import Big, Id, Name, Utc, Word, metadata, refers

_VERDICTS = ("pass", "review", "reject", "not_inspected")


def _place() -> tuple[Column[Any], ...]:
    """When, at which station, and of what."""
    return (
        Column("start", Utc, primary_key=True),
        refers("station_id", "station.id", primary_key=True),
        refers("product_id", "product.id", primary_key=True),
    )


def _how() -> tuple[Column[Any], ...]:
    """How items were closed; the reason is '' where there is none."""
    return tuple(Column(name, Word, primary_key=True) for name in ("kind", "decision", "reason"))


def _rollup(name: str) -> Table:
    return Table(
        name,
        metadata,
        *_place(),
        Column("lot", Name, primary_key=True),  # '' where the frame names none
        Column("deployment_id", Id, primary_key=True, autoincrement=False),  # 0 where none decided
        *(Column(f"n_{verdict}", Big, nullable=False) for verdict in _VERDICTS),
        Column("n_late", Big, nullable=False),
        Column("sum_latency_ms", sa.Float, nullable=False),
        sqlite_with_rowid=False,  # rows lie in the key's order: a window is one stretch of the table
    )


rollup_minute = _rollup("rollup_minute")
rollup_quarter = _rollup("rollup_quarter")
rollup_hour = _rollup("rollup_hour")  # of UTC

closing_rollup = Table(
    "closing_rollup",
    metadata,
    *_place(),  # start: the quarter of the item's event_at
    Column("lot", Name, primary_key=True),  # '' where the frame names none
    Column("deployment_id", Id, primary_key=True, autoincrement=False),  # 0 where none decided
    *_how(),
    Column("n", Big, nullable=False),
    sqlite_with_rowid=False,
)

closing_hour = Table(
    "closing_hour",
    metadata,
    *_place(),  # start: an hour of UTC
    Column("lot", Name, primary_key=True),  # '' where the frame names none
    Column("n_flagged", Big, nullable=False),
    Column("n_false_calls", Big, nullable=False),
    Column("n_defects", Big, nullable=False),
    sqlite_with_rowid=False,
)

closing_day = Table(
    "closing_day",
    metadata,
    *_place(),  # start: a day of UTC
    *_how(),
    Column("n", Big, nullable=False),
    sqlite_with_rowid=False,
)

score_bin = Table(
    "score_bin",
    metadata,
    Column("day", sa.Date, primary_key=True),  # in the plant's timezone
    refers("station_id", "station.id", primary_key=True),
    refers("product_id", "product.id", primary_key=True),
    refers("deployment_id", "deployment.id", primary_key=True),
    Column("bin", sa.Integer, primary_key=True, autoincrement=False),  # floor(16 asinh(severity))
    Column("n", Big, nullable=False),
)
