"""Whose weights a model version started from, and whose samples are therefore in them."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import registry
from agent.store.registry import ModelVersion
from agent.store.tables import sample, snapshot_sample


def chain(conn: Connection, version_id: int) -> list[ModelVersion]:
    """The version, its parent, its parent's parent and so on to the one that started cold.

    Raises:
        NotFound: there is no such version.
    """
    found = [registry.version(conn, version_id)]
    while (parent_id := found[-1].parent_id) is not None:
        found.append(registry.version(conn, parent_id))
    return found


def spoiled(conn: Connection, version_id: int) -> list[int]:
    """The samples that some version of the chain trained on and that are good normals no more, by id.

    Revoked ones, and revoked ones that came back in another role: what was learned from them is in the weights. Samples
    that only calibrated or compared are not.
    """
    snapshots = {one.snapshot_id for one in chain(conn, version_id)} - {None}
    query = (
        sa.select(sample.c.id)
        .join(snapshot_sample, snapshot_sample.c.sample_id == sample.c.id)
        .where(snapshot_sample.c.snapshot_id.in_(snapshots), snapshot_sample.c.role == "train")
        .where(sa.or_(sample.c.revoked_at.is_not(None), sample.c.role != "train"))
        .distinct()
        .order_by(sample.c.id)
    )
    return list(conn.execute(query).scalars())
