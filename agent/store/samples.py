"""Samples, images with a role for training, and the snapshots that freeze them for a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import Conflict, NotFound
from agent.store.rows import columns, insert, one, read, read_all, values
from agent.store.tables import sample, snapshot_sample
from agent.store.tables import snapshot as frozen

ROLES = ("train", "calibration", "holdout", "defect")


@dataclass(frozen=True, slots=True)
class NewSample:
    """An image that gets a role. `pixels_sha256` identifies it: of the decoded pixels, or of the frame's bytes."""

    product_id: int
    role: str  # train | calibration | holdout | defect
    origin: str  # import | flagged | audit
    blob_sha256: str
    pixels_sha256: str
    mask_sha256: str | None = None
    item_id: int | None = None
    serial: str | None = None
    reason: str | None = None  # the defect's reason code
    added_by: int | None = None
    epoch_id: int | None = None  # of calibration and hold-out; None: nothing uses it yet


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with a role; unusable from `revoked_at` on."""

    id: int
    product_id: int
    role: str
    origin: str
    blob_sha256: str
    mask_sha256: str | None
    item_id: int | None
    pixels_sha256: str
    serial: str | None
    reason: str | None
    added_by: int | None
    epoch_id: int | None
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen samples of a training run, ordered by role and pixels; their roles are those at the freeze."""

    id: int
    product_id: int
    sha256: str
    created_at: datetime
    samples: tuple[Sample, ...]

    def of_role(self, role: str) -> tuple[Sample, ...]:
        """Its samples of one role."""
        return tuple(one for one in self.samples if one.role == role)

    @property
    def epoch_id(self) -> int | None:
        """Of the epoch that its calibration samples belong to; None where it has none."""
        return next((one.epoch_id for one in self.of_role("calibration") if one.epoch_id is not None), None)

    def role_sha256(self, role: str) -> str:
        """SHA-256 of its samples of one role, such as the calibration set that a certificate names."""
        return _digest(self.of_role(role))


def add(conn: Connection, new: NewSample, now: datetime) -> Sample:
    """Adds a sample; of identical pixels the product keeps the one it has, whatever its role.

    A revoked one comes back with the new role and origin.
    """
    statement = insert(conn, sample).values(**values(new), created_at=now)
    taken = {field.name: statement.excluded[field.name] for field in fields(NewSample)}
    statement = statement.on_conflict_do_update(
        index_elements=["product_id", "pixels_sha256"],
        set_={**taken, "created_at": statement.excluded.created_at, "revoked_at": None, "accepted_at": None},
        where=sample.c.revoked_at.is_not(None),
    )
    conn.execute(statement)
    found = find(conn, new.product_id, new.pixels_sha256)
    assert found is not None
    return found


def find(conn: Connection, product_id: int, pixels_sha256: str) -> Sample | None:
    """The product's sample of these pixels, revoked or not."""
    query = sa.select(*columns(sample, Sample)).where(
        sample.c.product_id == product_id, sample.c.pixels_sha256 == pixels_sha256
    )
    found = conn.execute(query).one_or_none()
    return read(Sample, found) if found else None


def get(conn: Connection, sample_id: int) -> Sample:
    """The sample of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Sample, sample, sample_id)


def all(conn: Connection, product_id: int, role: str | None = None, *, revoked: bool = False) -> list[Sample]:
    """The product's samples by role and pixels: the usable ones, or with `revoked` the revoked ones."""
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id)
    query = query.where(sample.c.revoked_at.is_not(None) if revoked else sample.c.revoked_at.is_(None))
    if role is not None:
        query = query.where(sample.c.role == role)
    return read_all(Sample, conn.execute(query.order_by(sample.c.role, sample.c.pixels_sha256)))


def counts(conn: Connection, product_id: int, epoch_id: int | None = None) -> dict[str, int]:
    """How many samples of each role a snapshot would take now; arguments as `freeze`."""
    query = (
        sa.select(sample.c.role, sa.func.count())
        .where(sample.c.product_id == product_id, *_usable(epoch_id))
        .group_by(sample.c.role)
    )
    return dict.fromkeys(ROLES, 0) | {str(row[0]): int(row[1]) for row in conn.execute(query)}


def count_new(conn: Connection, product_id: int, since: datetime | None, *, epoch_id: int | None = None) -> int:
    """How many normals of the stream came to what a snapshot takes after `since` (None: ever): what starts a run."""
    query = sa.select(sa.func.count()).where(
        sample.c.product_id == product_id,
        *_usable(epoch_id),
        sample.c.role != "defect",
        sample.c.origin != "import",
    )
    came = sa.func.coalesce(sample.c.accepted_at, sample.c.created_at)
    return conn.execute(query if since is None else query.where(came > since)).scalar_one()


def roles_of_serial(conn: Connection, product_id: int, serial: str) -> set[str]:
    """The roles that usable samples of this part have."""
    query = sa.select(sample.c.role).where(
        sample.c.product_id == product_id, sample.c.serial == serial, sample.c.revoked_at.is_(None)
    )
    return set(conn.execute(query).scalars())


def revoke(conn: Connection, sample_id: int, now: datetime) -> None:
    """Makes a sample unusable from now on; snapshots that hold it stay as they are.

    Raises:
        NotFound: there is none.
        Conflict: it is revoked already.
    """
    if get(conn, sample_id).revoked_at is not None:
        raise Conflict(f"sample {sample_id} is revoked already")
    conn.execute(sa.update(sample).where(sample.c.id == sample_id).values(revoked_at=now))


def revoke_of_item(conn: Connection, item_id: int, now: datetime) -> list[int]:
    """Revokes what an item's review added; returns the ids."""
    statement = sa.update(sample).where(sample.c.item_id == item_id, sample.c.revoked_at.is_(None))
    return list(conn.execute(statement.values(revoked_at=now).returning(sample.c.id)).scalars())


def freeze(conn: Connection, product_id: int, now: datetime, *, epoch_id: int | None = None) -> Snapshot:
    """Freezes the product's usable samples; the same ones give the snapshot there is already.

    Args:
        conn: a writing transaction.
        product_id: of the product.
        now: the time.
        epoch_id: calibration and hold-out are taken of this epoch only; None: of none.

    Raises:
        Conflict: it has none.
    """
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id, *_usable(epoch_id))
    samples = read_all(Sample, conn.execute(query.order_by(sample.c.role, sample.c.pixels_sha256)))
    if not samples:
        raise Conflict("the product has no samples: import a folder of good parts first")
    digest = _digest(samples)
    known = conn.execute(
        sa.select(frozen.c.id).where(frozen.c.product_id == product_id, frozen.c.sha256 == digest)
    ).scalar_one_or_none()
    if known is not None:
        return snapshot(conn, known)
    made = sa.insert(frozen).values(product_id=product_id, sha256=digest, created_at=now).returning(frozen.c.id)
    snapshot_id = int(conn.execute(made).scalar_one())
    conn.execute(
        sa.insert(snapshot_sample),
        [{"snapshot_id": snapshot_id, "sample_id": one.id, "role": one.role} for one in samples],
    )
    return Snapshot(snapshot_id, product_id, digest, now, tuple(samples))


def snapshot(conn: Connection, snapshot_id: int) -> Snapshot:
    """The snapshot of that id, with its samples.

    Raises:
        NotFound: there is none.
    """
    head = conn.execute(sa.select(*frozen.c).where(frozen.c.id == snapshot_id)).one_or_none()
    if head is None:
        raise NotFound(f"there is no snapshot {snapshot_id}")
    query = (
        sa.select(*columns(sample, Sample), snapshot_sample.c.role.label("frozen_role"))
        .join(snapshot_sample, snapshot_sample.c.sample_id == sample.c.id)
        .where(snapshot_sample.c.snapshot_id == snapshot_id)
        .order_by(snapshot_sample.c.role, sample.c.pixels_sha256)
    )
    samples = []
    for *own, role in conn.execute(query):
        samples.append(replace(Sample(*own), role=role))
    return Snapshot(head.id, head.product_id, head.sha256, head.created_at, tuple(samples))


def _usable(epoch_id: int | None) -> tuple[sa.ColumnElement[bool], ...]:
    row = sample.c
    of_it = sa.false() if epoch_id is None else row.epoch_id == epoch_id
    return row.revoked_at.is_(None), row.state == "accepted", sa.or_(row.role.in_(("train", "defect")), of_it)


def _digest(samples: Sequence[Sample]) -> str:
    identities = sorted((one.role, one.pixels_sha256) for one in samples)
    return hashlib.sha256(json.dumps(identities, separators=(",", ":")).encode()).hexdigest()
