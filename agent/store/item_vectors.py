"""What the scorer saw of an item, small: its pooled features as a unit vector, and its heatmap on a coarse grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, values
from agent.store.tables import item, item_vector, sample

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


@dataclass(frozen=True, slots=True)
class Normal:
    """An accepted normal: the frame of a part that trains, whose item has a vector.

    Attributes:
        part: its serial, or its frame's id.
        seen_at: when.
        small: hash of the smallest picture that there is.
        full: hash of the picture to look at.
        features: a unit vector, little-endian float16.
    """

    part: str
    seen_at: datetime
    small: str
    full: str
    features: bytes


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


def normals(conn: Connection, product_id: int, space: str, most: int) -> list[Normal]:
    """The product's accepted normals in that space, the newest first; those that are imported have no vector."""
    row, vector = item.c, item_vector.c
    full = sa.func.coalesce(row.preview_sha256, row.frame_sha256)
    query = (
        sa.select(
            sa.func.coalesce(row.serial, row.frame_id), row.event_at,
            sa.func.coalesce(row.thumbnail_sha256, full), full, vector.features,
        )
        .select_from(sample)
        .join(item, row.id == sample.c.item_id)
        .join(item_vector, vector.item_id == row.id)
        .where(sample.c.product_id == product_id, sample.c.role == "train", sample.c.state == "accepted")
        .where(sample.c.revoked_at.is_(None), vector.space == space)
    )  # fmt: skip
    return [Normal(*found) for found in conn.execute(query.order_by(sample.c.id.desc()).limit(most))]
