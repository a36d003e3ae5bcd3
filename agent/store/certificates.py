"""Certificates of model versions as they were issued, and how often an epoch's calibration set was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, read_all
from agent.store.tables import certificate


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate as stored; `record` is model.certificate.Certificate.to_dict()."""

    id: int
    model_version_id: int
    snapshot_id: int | None
    epoch_id: int | None  # whose calibration set it rests on
    look: int
    calibration_sha256: str
    n: int
    record: Mapping[str, Any]
    created_at: datetime


def add(
    conn: Connection,
    *,
    version_id: int,
    snapshot_id: int | None = None,
    epoch_id: int | None = None,
    record: Mapping[str, Any],
    now: datetime,
) -> int:
    """Adds a certificate and returns its id; `look`, `n` and `calibration_sha256` are read from the record."""
    statement = sa.insert(certificate).values(
        model_version_id=version_id,
        snapshot_id=snapshot_id,
        epoch_id=epoch_id,
        look=record["look"],
        calibration_sha256=record["calibration_sha256"],
        n=record["n"],
        record=dict(record),
        created_at=now,
    )
    return int(conn.execute(statement.returning(certificate.c.id)).scalar_one())


def of_version(conn: Connection, version_id: int) -> list[CertificateRow]:
    """The version's certificates, newest first."""
    query = sa.select(*columns(certificate, CertificateRow)).where(certificate.c.model_version_id == version_id)
    return read_all(CertificateRow, conn.execute(query.order_by(certificate.c.id.desc())))


def newest(conn: Connection, version_id: int) -> int | None:
    """What a version decides by from now on: one made anew replaces one whose calibration set held a defect."""
    return next((one.id for one in of_version(conn, version_id)), None)


def looks(conn: Connection, *, epoch_id: int | None) -> int:
    """How many model versions were certified on an epoch so far (None: no epoch, 0); the next one's look is one more.

    Counted per epoch, not per calibration set: a set that grew by a few samples still shares the others with the sets
    before it; the sets of two epochs share none. A second certificate of one version (another engine) is no new look.
    """
    if epoch_id is None:
        return 0
    query = sa.select(sa.func.count(sa.distinct(certificate.c.model_version_id)))
    return conn.execute(query.where(certificate.c.epoch_id == epoch_id)).scalar_one()
