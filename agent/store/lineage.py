"""Which snapshots, runs, models and deployments used a sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import samples
from agent.store.rows import chunks
from agent.store.tables import deployment, model_version, snapshot_sample, training_run


@dataclass(frozen=True, slots=True)
class Seen:
    """A model version that used a sample; `via`: through that parent version, whose weights it began with."""

    version_id: int
    number: int
    state: str
    role: str  # that the sample had then
    via: int | None  # number of the parent; None: it was in the version's own snapshot


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment of such a version; it decides now while `live_until` is None."""

    deployment_id: int
    number: int
    live_from: datetime
    live_until: datetime | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """All that used a sample, each oldest first."""

    sample_id: int
    snapshots: tuple[int, ...]
    runs: tuple[int, ...]
    versions: tuple[Seen, ...]
    deployments: tuple[Served, ...]

    @property
    def live(self) -> int | None:
        """The number of the version that learnt from it and decides now."""
        learnt = {one.number for one in self.versions if one.role == "train"}
        return next((one.number for one in self.deployments if not one.live_until and one.number in learnt), None)


def of_sample(conn: Connection, sample_id: int) -> Lineage:
    """Traces a sample, revoked or not.

    Raises:
        NotFound: there is none.
    """
    product_id = samples.get(conn, sample_id).product_id
    found = of_samples(conn, product_id, [sample_id])[sample_id]
    roles = _roles(conn, sample_id)
    run = training_run.c
    runs = conn.execute(sa.select(run.id).where(run.snapshot_id.in_(roles)).order_by(run.id)).scalars()
    row = deployment.c
    served = conn.execute(
        sa.select(row.id, model_version.c.number, row.live_from, row.live_until)
        .join(model_version, model_version.c.id == row.model_version_id)
        .where(row.model_version_id.in_([one.version_id for one in found]))
        .order_by(row.id)
    )
    return Lineage(sample_id, tuple(sorted(roles)), tuple(runs), found, tuple(Served(*one) for one in served))


def of_samples(conn: Connection, product_id: int, sample_ids: Collection[int]) -> dict[int, tuple[Seen, ...]]:
    """The versions of a product that used each of the samples, oldest first."""
    row = model_version.c
    query = sa.select(row.id, row.number, row.state, row.snapshot_id, row.parent_id)
    versions = conn.execute(query.where(row.product_id == product_id).order_by(row.number)).all()
    of_snapshot = _roles_of(conn, sample_ids, [one.snapshot_id for one in versions if one.snapshot_id])
    found: dict[int, tuple[Seen, ...]] = {}
    for sample_id in sample_ids:
        roles, seen = of_snapshot[sample_id], dict[int, Seen]()
        for one in versions:  # a parent has a lower number than its children
            parent = seen.get(one.parent_id)
            # Weights carry on what was learnt, not what was measured on.
            if (role := roles.get(one.snapshot_id)) and not (role != "train" and parent and parent.role == "train"):
                seen[one.id] = Seen(one.id, one.number, one.state, role, None)
            elif parent and parent.role == "train":
                seen[one.id] = Seen(one.id, one.number, one.state, "train", parent.number)
        found[sample_id] = tuple(seen.values())
    return found


def used_as(conn: Connection, sample_id: int, role: str) -> bool:
    """Whether a snapshot holds the sample in that role."""
    return role in _roles(conn, sample_id).values()


def _roles_of(
    conn: Connection, sample_ids: Collection[int], snapshot_ids: Collection[int]
) -> dict[int, dict[int, str]]:
    """By sample: its role in each of the snapshots that hold it."""
    row, found = snapshot_sample.c, defaultdict[int, dict[int, str]](dict)
    for part in chunks(sample_ids, 10_000):
        query = sa.select(row.sample_id, row.snapshot_id, row.role).where(row.sample_id.in_(part))
        for sample_id, snapshot_id, role in conn.execute(query.where(row.snapshot_id.in_(snapshot_ids))):
            found[sample_id][snapshot_id] = role
    return found


def _roles(conn: Connection, sample_id: int) -> dict[int, str]:
    """The role that the sample has in each snapshot."""
    row = snapshot_sample.c
    query = sa.select(row.snapshot_id, row.role).where(row.sample_id == sample_id)
    return {int(one.snapshot_id): str(one.role) for one in conn.execute(query)}
