"""What the scorer saw of an item, small: its pooled features as a unit vector, and its heatmap on a coarse grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, values
from agent.store.tables import item, item_vector

SIDE = 16  # cells of the heatmap's grid, down and across


@dataclass(frozen=True, slots=True)
class Vector:
    """Of one item.

    Attributes:
        space: of the features: the teacher's weights and the model's input, hashed. Vectors of two are never compared.
        features: a unit vector, little-endian float16.
        heatmap: SIDE x SIDE cells over the whole frame, row by row: 0 is its lowest value, 255 its highest.
        low: that lowest value, as of the anomaly map.
        high: that highest value.
    """

    space: str
    features: bytes
    heatmap: bytes
    low: float
    high: float


def add_all(conn: Connection, stream_id: int, partition: int, vectors: Mapping[int, Vector]) -> None:
    """Adds those of a partition's items, by offset, in the transaction that added the items."""
    if not vectors:
        return
    row = item.c
    query = sa.select(row.offset, row.id).where(row.stream_id == stream_id, row.partition == partition)
    ids = conn.execute(query.where(row.offset.in_(list(vectors)))).all()
    conn.execute(sa.insert(item_vector), [{"item_id": one.id, **values(vectors[one.offset])} for one in ids])


def of_items(conn: Connection, item_ids: Collection[int]) -> dict[int, Vector]:
    """Those of these items that have one, by item."""
    row = item_vector.c
    query = sa.select(row.item_id, *columns(item_vector, Vector)).where(row.item_id.in_(list(item_ids)))
    return {item_id: Vector(*own) for item_id, *own in conn.execute(query)}
