"""What is usual of each station's pictures: mean and variance of a measure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, insert, values
from agent.store.tables import camera_history

Key = tuple[int, str]  # station id and measure


@dataclass(frozen=True, slots=True)
class Usual:
    """Of one measure, learned from `n` frames."""

    n: int
    mean: float
    variance: float


def of(conn: Connection, station_id: int) -> dict[str, Usual]:
    """By measure."""
    row = camera_history.c
    found = conn.execute(
        sa.select(row.measure, *columns(camera_history, Usual)).where(row.station_id == station_id)
    ).all()
    return {measure: Usual(*rest) for measure, *rest in found}


def keys(conn: Connection, station_ids: Collection[int]) -> set[Key]:
    """What is kept of these stations."""
    row = camera_history.c
    found = conn.execute(sa.select(row.station_id, row.measure).where(row.station_id.in_(station_ids)))
    return {(station_id, measure) for station_id, measure in found}


def save(conn: Connection, changed: Mapping[Key, Usual], now: datetime) -> None:
    """Writes these; the last writer wins."""
    rows = [
        {"station_id": station_id, "measure": measure, "updated_at": now, **values(usual)}
        for (station_id, measure), usual in sorted(changed.items())
    ]
    if rows:
        statement = insert(conn, camera_history)
        renewed = {name: statement.excluded[name] for name in ("n", "mean", "variance", "updated_at")}
        conn.execute(statement.on_conflict_do_update(index_elements=["station_id", "measure"], set_=renewed), rows)


def forget(conn: Connection, station_id: int) -> int:
    """Forgets all of a station; returns how many measures that were."""
    return conn.execute(sa.delete(camera_history).where(camera_history.c.station_id == station_id)).rowcount
