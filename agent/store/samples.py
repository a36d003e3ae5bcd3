"""Samples, images with a role for training, and the snapshots that freeze them for a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, remade
from agent.store.errors import Conflict
from agent.store.rows import columns, insert, one, read, read_all, values
from agent.store.tables import sample, snapshot_sample

ROLES = ("train", "calibration", "holdout", "defect")
STATES = ("proposed", "quarantined", "accepted", "refused")


@dataclass(frozen=True, slots=True)
class NewSample:
    """An image that gets a role. `pixels_sha256` identifies it; where the product has it, it is as `find` gives it."""

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
    state: str = "accepted"
    station_id: int | None = None  # where the frame was taken; None: imported
    lot: str | None = None
    thumbnail_sha256: str | None = None  # of an imported one; others have their item's


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with a role; usable while it is accepted and not revoked."""

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
    state: str  # proposed | quarantined | accepted | refused
    quarantine: Mapping[str, Any] | None  # what the check found; None: not checked
    accepted_by: int | None  # None: the agent, or accepted as it was added
    accepted_at: datetime | None  # None: as it was added, or never
    created_at: datetime
    revoked_at: datetime | None
    station_id: int | None = None  # where the frame was taken; None: imported
    lot: str | None = None
    thumbnail_sha256: str | None = None  # of an imported one; others have their item's

    @property
    def checked(self) -> str | None:
        """What the quarantine check said, as it was made, so that a page can say it in the plant's language."""
        found = self.quarantine or {}
        return remade(str(found["words"]), found.get(MADE)) if "words" in found else None


def add(conn: Connection, new: NewSample, now: datetime) -> Sample:
    """Adds a sample; of identical pixels the product keeps the one it has, whatever its role.

    A revoked one comes back with the new role and origin.
    """
    statement = insert(conn, sample).values(**values(new), created_at=now)
    taken = {field.name: statement.excluded[field.name] for field in fields(NewSample)}
    statement = statement.on_conflict_do_update(
        index_elements=["product_id", "pixels_sha256"],
        set_={
            **dict.fromkeys(("revoked_at", "quarantine", "accepted_by", "accepted_at")),
            **taken,
            "created_at": statement.excluded.created_at,
        },
        where=sample.c.revoked_at.is_not(None),
    )
    conn.execute(statement)
    found = find(conn, new.product_id, new.pixels_sha256, new.blob_sha256)
    assert found is not None
    return found


def find(conn: Connection, product_id: int, pixels_sha256: str, blob_sha256: str) -> Sample | None:
    """The product's sample of this image, revoked or not: of these pixels, else of these bytes.

    By its bytes alone it is found where either was kept before items had their pixels' hash.
    """
    row = sample.c
    query = sa.select(*columns(sample, Sample)).where(
        row.product_id == product_id, sa.or_(row.pixels_sha256 == pixels_sha256, row.blob_sha256 == blob_sha256)
    )
    query = query.order_by(row.pixels_sha256 != pixels_sha256, row.revoked_at.is_not(None), row.id)
    found = conn.execute(query.limit(1)).one_or_none()
    return read(Sample, found) if found else None


def get(conn: Connection, sample_id: int) -> Sample:
    """The sample of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Sample, sample, sample_id)


def all(
    conn: Connection,
    product_id: int,
    role: str | None = None,
    *,
    revoked: bool = False,
    state: str | None = "accepted",
) -> list[Sample]:
    """The product's samples by role and pixels: the usable ones, those of another state, or the revoked ones.

    Args:
        conn: any transaction.
        product_id: of the product.
        role: only this role.
        revoked: the revoked ones instead, whatever their state.
        state: None for any.
    """
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id)
    query = query.where(sample.c.revoked_at.is_not(None) if revoked else sample.c.revoked_at.is_(None))
    if state is not None and not revoked:
        query = query.where(sample.c.state == state)
    if role is not None:
        query = query.where(sample.c.role == role)
    return read_all(Sample, conn.execute(query.order_by(sample.c.role, sample.c.pixels_sha256)))


def counts(conn: Connection, product_id: int, epoch_id: int | None = None) -> dict[str, int]:
    """How many samples of each role a snapshot would take now; arguments as `freeze`."""
    query = (
        sa.select(sample.c.role, sa.func.count())
        .where(sample.c.product_id == product_id, *usable(epoch_id))
        .group_by(sample.c.role)
    )
    return dict.fromkeys(ROLES, 0) | {str(row[0]): int(row[1]) for row in conn.execute(query)}


def came(
    conn: Connection,
    product_id: int,
    since: datetime | None,
    *,
    epoch_id: int | None = None,
    beyond: int | None = None,
) -> list[datetime]:
    """When normals of the stream came to what a snapshot takes after `since` (None: ever), in order: they start a run.

    So do those that were there before, but held back from the snapshot `beyond`.
    """
    query = sa.select(_accepted_at).where(
        sample.c.product_id == product_id,
        *usable(epoch_id),
        sample.c.role != "defect",
        sample.c.origin != "import",
    )
    if since is not None:
        query = query.where(sa.or_(_accepted_at > since, sa.and_(*_fresh(beyond)) if beyond else sa.false()))
    return list(conn.execute(query.order_by(_accepted_at)).scalars())


def fresh(conn: Connection, product_id: int, beyond: int | None) -> list[Sample]:
    """The usable train samples of reviews that the snapshot `beyond` does not hold (None: all), oldest first."""
    query = sa.select(*columns(sample, Sample)).where(sample.c.product_id == product_id, *usable(None), *_fresh(beyond))
    return read_all(Sample, conn.execute(query.order_by(_accepted_at, sample.c.id)))


def _fresh(beyond: int | None) -> tuple[sa.ColumnElement[bool], ...]:
    frozen_then = sa.select(snapshot_sample.c.sample_id).where(snapshot_sample.c.snapshot_id == beyond)
    reviewed = (sample.c.role == "train", sample.c.origin == "flagged")
    return reviewed if beyond is None else (*reviewed, sample.c.id.not_in(frozen_then))


def of_serial(conn: Connection, product_id: int, serial: str) -> list[Sample]:
    """The samples of this part that are not revoked or refused, those that wait included."""
    query = sa.select(*columns(sample, Sample)).where(
        sample.c.product_id == product_id,
        sample.c.serial == serial,
        sample.c.revoked_at.is_(None),
        sample.c.state != "refused",
    )
    return read_all(Sample, conn.execute(query.order_by(sample.c.id)))


def roles_of_serial(conn: Connection, product_id: int, serial: str) -> set[str]:
    """The roles that samples of this part have, those that wait included."""
    return {one.role for one in of_serial(conn, product_id, serial)}


def roles_of_part(conn: Connection, one: Sample) -> set[str]:
    """As `roles_of_serial`, of the part that a sample shows; none where it has no serial."""
    return roles_of_serial(conn, one.product_id, one.serial) if one.serial else set()


def of_part(conn: Connection, one: Sample) -> list[Sample]:
    """The other usable samples that measure models with this one as one part: of its serial and epoch."""
    if one.serial is None or one.epoch_id is None:
        return []
    query = sa.select(*columns(sample, Sample)).where(
        sample.c.product_id == one.product_id,
        sample.c.serial == one.serial,
        sample.c.epoch_id == one.epoch_id,
        sample.c.id != one.id,
        sample.c.revoked_at.is_(None),
    )
    return read_all(Sample, conn.execute(query.order_by(sample.c.id)))


def revoke(conn: Connection, sample_id: int, now: datetime) -> None:
    """Makes a sample unusable from now on; snapshots that hold it stay as they are.

    Raises:
        NotFound: there is none.
        Conflict: it is revoked already.
    """
    if get(conn, sample_id).revoked_at is not None:
        raise Conflict("sample {sample_id} is revoked already", sample_id=sample_id)
    conn.execute(sa.update(sample).where(sample.c.id == sample_id).values(revoked_at=now))


def of_item(conn: Connection, item_id: int) -> list[Sample]:
    """What an item's review added and nobody revoked."""
    return of_items(conn, [item_id]).get(item_id, [])


def of_items(conn: Connection, item_ids: Collection[int]) -> dict[int, list[Sample]]:
    """What the reviews of each of these items added and nobody revoked; of those that have any."""
    query = sa.select(*columns(sample, Sample)).where(sample.c.item_id.in_(item_ids), sample.c.revoked_at.is_(None))
    found: dict[int, list[Sample]] = {}
    for row in conn.execute(query):
        found.setdefault(row.item_id, []).append(read(Sample, row))
    return found


def revoke_of_item(conn: Connection, item_id: int, now: datetime) -> list[int]:
    """Revokes what an item's review added; returns the ids."""
    statement = sa.update(sample).where(sample.c.item_id == item_id, sample.c.revoked_at.is_(None))
    return list(conn.execute(statement.values(revoked_at=now).returning(sample.c.id)).scalars())


_accepted_at = sa.func.coalesce(sample.c.accepted_at, sample.c.created_at)


def usable(epoch_id: int | None) -> tuple[sa.ColumnElement[bool], ...]:
    """What a snapshot would take now, as SQL; `epoch_id` as of `freeze`."""
    row = sample.c
    of_it = sa.false() if epoch_id is None else row.epoch_id == epoch_id
    return row.revoked_at.is_(None), row.state == "accepted", sa.or_(row.role.in_(("train", "defect")), of_it)
