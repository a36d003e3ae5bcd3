"""Accepted normals that can be compared with an item: good parts that train, with the scorer's features of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import chunks, insert, names, values
from agent.store.tables import item, item_vector, sample, sample_vector


@dataclass(frozen=True, slots=True)
class Normal:
    """An accepted normal.

    Attributes:
        part: its serial, else its frame's id, else the number of its sample.
        seen_at: when; of an imported one, when it was imported.
        small: hash of the smallest picture that there is.
        full: hash of the picture to look at.
        features: a unit vector, little-endian float16.
    """

    part: str
    seen_at: datetime
    small: str
    full: str
    features: bytes


@dataclass(frozen=True, slots=True)
class SampleVector:
    """What the scorer saw of a sample whose item has no vector; fields as of `agent.store.item_vectors.Vector`."""

    space: str
    features: bytes


def add_all(conn: Connection, vectors: Mapping[int, SampleVector]) -> None:
    """Adds those of samples, by id; of each the newest one stays."""
    if not vectors:
        return
    statement = insert(conn, sample_vector)
    newer = {name: statement.excluded[name] for name in names(SampleVector)}
    statement = statement.on_conflict_do_update(index_elements=["sample_id"], set_=newer)
    conn.execute(statement, [{"sample_id": one, **values(vectors[one])} for one in sorted(vectors)])


def known(conn: Connection, sample_ids: Collection[int], space: str) -> set[int]:
    """Those of these samples that have a vector in that space, or whose items do."""
    own, its, found = sample_vector.c, item_vector.c, set[int]()
    imported = sa.select(own.sample_id).where(own.space == space)
    seen = sa.select(sample.c.id).join(item_vector, its.item_id == sample.c.item_id).where(its.space == space)
    for ids in chunks(sample_ids, 1000):
        both = imported.where(own.sample_id.in_(ids)).union(seen.where(sample.c.id.in_(ids)))
        found.update(conn.execute(both).scalars())
    return found


def of_product(conn: Connection, product_id: int, space: str, most: int) -> list[Normal]:
    """The product's accepted normals in that space, the newest samples first."""
    row, full = item.c, sa.func.coalesce(item.c.preview_sha256, item.c.frame_sha256, sample.c.blob_sha256)
    small = sa.func.coalesce(row.thumbnail_sha256, sample.c.thumbnail_sha256, full)
    part = sa.func.coalesce(sample.c.serial, row.serial, row.frame_id, sa.cast(sample.c.id, sa.String))
    seen_at = sa.func.coalesce(row.event_at, sample.c.created_at)
    shown = (sample.c.id, part, seen_at)
    with_item = (
        sa.select(*shown, small, full, item_vector.c.features)
        .join(item, row.id == sample.c.item_id)
        .join(item_vector, item_vector.c.item_id == row.id)
        .where(item_vector.c.space == space)
    )
    without = (
        sa.select(*shown, small, full, sample_vector.c.features)
        .outerjoin(item, row.id == sample.c.item_id)
        .join(sample_vector, sample_vector.c.sample_id == sample.c.id)
        .where(sample_vector.c.space == space)
    )
    found = {}
    for query in (without, with_item):
        for number, *own in conn.execute(_accepted(query, product_id).order_by(sample.c.id.desc()).limit(most)):
            found[number] = Normal(*own)
    return [found[number] for number in sorted(found, reverse=True)[:most]]


def _accepted(query: sa.Select[Any], product_id: int) -> sa.Select[Any]:
    row = sample.c
    query = query.where(row.product_id == product_id, row.role == "train", row.state == "accepted")
    return query.where(row.revoked_at.is_(None))
