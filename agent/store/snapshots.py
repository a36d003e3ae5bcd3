"""Snapshots: the samples of a training run, frozen with all that decides about it.

A revoked sample can be added anew, as another part's. Which file holds its pixels is not frozen: it decides nothing,
and the one that the sample names now is there for sure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.store.errors import Conflict, NotFound
from agent.store.rows import columns, names, read_all
from agent.store.samples import Sample, usable
from agent.store.tables import sample, snapshot_sample
from agent.store.tables import snapshot as frozen

# What decides about a run beside the pixels: the role; the origin, by which the gate counts a defect; the part, which
# is of one side of every split and one unit of a certificate, and its lot; the epoch.
FROZEN = ("role", "origin", "serial", "station_id", "lot", "epoch_id")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen samples of a training run, ordered by role and pixels, as they were at the freeze.

    Attributes:
        sha256: of what decides, see `FROZEN`; of one from before that was frozen, of its roles and pixels alone.
    """

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

    def is_of_role(self, sha256: str, role: str) -> bool:
        """Whether that is the `role_sha256`, as it is now or as it was of roles and pixels alone."""
        found = self.of_role(role)
        return sha256 in (_digest(found), _digest_of_pixels(found))


def freeze(
    conn: Connection,
    product_id: int,
    now: datetime,
    *,
    epoch_id: int | None = None,
    without: Collection[int] = (),
) -> Snapshot:
    """Freezes the product's usable samples; the same ones give the snapshot there is already.

    Args:
        conn: a writing transaction.
        product_id: of the product.
        now: the time.
        epoch_id: calibration and hold-out are taken of this epoch only; None: of none.
        without: ids of samples that are held back.

    Raises:
        Conflict: it has none.
    """
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id, *usable(epoch_id))
    found = read_all(Sample, conn.execute(query.order_by(sample.c.role, sample.c.pixels_sha256)))
    samples = [one for one in found if one.id not in without]
    if not samples:
        raise Conflict("the product has no samples: import a folder of good parts first")
    digest = _digest(samples)
    known = conn.execute(
        sa.select(frozen.c.id).where(frozen.c.product_id == product_id, frozen.c.sha256 == digest)
    ).scalar_one_or_none()
    if known is not None:
        return get(conn, known)
    made = sa.insert(frozen).values(product_id=product_id, sha256=digest, created_at=now).returning(frozen.c.id)
    snapshot_id = int(conn.execute(made).scalar_one())
    conn.execute(
        sa.insert(snapshot_sample),
        [
            {"snapshot_id": snapshot_id, "sample_id": one.id, **{name: getattr(one, name) for name in FROZEN}}
            for one in samples
        ],
    )
    return Snapshot(snapshot_id, product_id, digest, now, tuple(samples))


def get(conn: Connection, snapshot_id: int) -> Snapshot:
    """The snapshot of that id, with its samples.

    Raises:
        NotFound: there is none.
    """
    head = conn.execute(sa.select(*frozen.c).where(frozen.c.id == snapshot_id)).one_or_none()
    if head is None:
        raise NotFound("there is no snapshot {snapshot_id}", snapshot_id=snapshot_id)
    query = (
        sa.select(*(snapshot_sample.c[name] if name in FROZEN else sample.c[name] for name in names(Sample)))
        .join_from(snapshot_sample, sample, snapshot_sample.c.sample_id == sample.c.id)
        .where(snapshot_sample.c.snapshot_id == snapshot_id)
        .order_by(snapshot_sample.c.role, sample.c.pixels_sha256)
    )
    samples = read_all(Sample, conn.execute(query))
    return Snapshot(head.id, head.product_id, head.sha256, head.created_at, tuple(samples))


def gone(conn: Connection, snapshot_id: int) -> list[int]:
    """The normals of a snapshot that are usable as what they were there no more, by id."""
    row, then = sample.c, snapshot_sample.c
    query = (
        sa.select(row.id)
        .join(snapshot_sample, then.sample_id == row.id)
        .where(then.snapshot_id == snapshot_id, then.role != "defect")
        .where(sa.or_(row.revoked_at.is_not(None), row.state != "accepted", *_other))
    )
    return list(conn.execute(query.order_by(row.id)).scalars())


def why_not(conn: Connection, snapshot_id: int) -> Phrase | None:
    """What is `gone` of a snapshot, in words: why nothing that rests on it goes live by itself; None: nothing is."""
    ids = gone(conn, snapshot_id)
    if not ids:
        return None
    listed = ", ".join(map(str, ids[:10]))
    return Phrase(
        "samples revoked, or changed in role or part, since the run took them: {n} ({ids}); train again without them",
        n=len(ids),
        ids=Phrase("{ids} and more", ids=listed) if len(ids) > 10 else listed,
    )


# As what another sample came back.
_other = tuple(sample.c[name].is_distinct_from(snapshot_sample.c[name]) for name in FROZEN)


def _digest(samples: Sequence[Sample]) -> str:
    return _hash(sorted(json.dumps([one.pixels_sha256, *(getattr(one, name) for name in FROZEN)]) for one in samples))


def _digest_of_pixels(samples: Sequence[Sample]) -> str:
    return _hash(sorted((one.role, one.pixels_sha256) for one in samples))


def _hash(identities: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(identities, separators=(",", ":")).encode()).hexdigest()
