"""What each model version scored on each calibration sample, and pictures of the highest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import names, read_all, values
from agent.store.tables import calibration_score, certificate, model_version, sample, station

FEWEST = 5  # images that are looked through before a certificate is trusted


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures of a calibration image, as WebP: itself, and under a version's coloured heatmap."""

    preview_sha256: str
    overlay_sha256: str


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A calibration part (a frame, where the certificate's unit is one) by the image of it that scored highest.

    Attributes:
        sample_id: of that image.
        score: its score.
        frames: how many images the part has.
        serial, station: of the part; None where they are not known.
        item_id: where it came from the stream.
        blob_sha256: the image.
        preview_sha256, overlay_sha256: as of `Shown`; None for one that is not among the highest.
        usable: whether it calibrates still.
    """

    sample_id: int
    score: float
    frames: int
    serial: str | None
    station: str | None
    item_id: int | None
    blob_sha256: str
    preview_sha256: str | None
    overlay_sha256: str | None
    usable: bool


def add_all(
    conn: Connection, version_id: int, scores: Mapping[int, float], pictures: Mapping[int, Shown] | None = None
) -> None:
    """Adds a version's scores by sample id; they are finite. `pictures` are those of some of them, kept before."""
    shown, none = pictures or {}, {"preview_sha256": None, "overlay_sha256": None}
    rows = [
        {
            "model_version_id": version_id,
            "sample_id": one,
            "score": score,
            **(values(shown[one]) if one in shown else none),
        }
        for one, score in scores.items()
    ]
    if rows:
        conn.execute(sa.insert(calibration_score), rows)


def replace(conn: Connection, version_id: int, scores: Mapping[int, float]) -> None:
    """Sets a version's scores by sample id, of some or all that it has; its pictures stay."""
    row = _of(version_id) & (calibration_score.c.sample_id == sa.bindparam("sample"))
    changed = [{"sample": one, "now": score} for one, score in scores.items()]
    if changed:
        conn.execute(sa.update(calibration_score).where(row).values(score=sa.bindparam("now")), changed)


def scores_of(conn: Connection, version_id: int) -> dict[int, float]:
    """A version's scores by sample id; empty for a version made before they were kept."""
    query = sa.select(calibration_score.c.sample_id, calibration_score.c.score)
    return {int(row[0]): float(row[1]) for row in conn.execute(query.where(_of(version_id)))}


def top(conn: Connection, version_id: int, limit: int, unit: str) -> list[Calibrator]:
    """The units with the largest scores of a version, largest first.

    Args:
        conn: any transaction.
        version_id: the version.
        limit: so many that calibrate still; those that were taken out since come in between.
        unit: of its certificate: part, the images of one serial at one station; or frame.
    """
    row, own = calibration_score.c, sample.c
    same = (own.station_id, own.serial) if unit == "part" else (own.id,)
    ranked = (
        sa.select(
            row.sample_id, row.score, row.preview_sha256, row.overlay_sha256, own.serial, own.item_id,
            own.blob_sha256, station.c.name.label("station"), _usable().label("usable"),
            sa.func.count().over(partition_by=same).label("frames"),
            sa.func.row_number().over(partition_by=same, order_by=(row.score.desc(), row.sample_id)).label("place"),
        )
        .join(sample, own.id == row.sample_id)
        .outerjoin(station, station.c.id == own.station_id)
        .where(_of(version_id))
        .subquery()
    )  # fmt: skip
    usable, order = sa.case((ranked.c.usable, 1), else_=0), (ranked.c.score.desc(), ranked.c.sample_id)
    before = sa.func.sum(usable).over(order_by=order) - usable  # usable ones above it
    units = sa.select(*(ranked.c[name] for name in names(Calibrator)), before.label("before"))
    found = units.where(ranked.c.place == 1).subquery()
    query = sa.select(*(found.c[name] for name in names(Calibrator))).where(found.c.before < limit)
    return read_all(Calibrator, conn.execute(query.order_by(found.c.score.desc(), found.c.sample_id)))


def taken_out(conn: Connection, product_id: int) -> dict[int, int]:
    """How many images left the calibration set of a version since its newest certificate, by version id.

    Of candidates and champions only: the others decide nothing now.
    """
    row, own, version = calibration_score.c, sample.c, model_version.c
    newest = (
        sa.select(certificate.c.model_version_id, sa.func.max(certificate.c.created_at).label("at"))
        .group_by(certificate.c.model_version_id)
        .subquery()
    )
    query = (
        sa.select(row.model_version_id, sa.func.count())
        .join(sample, own.id == row.sample_id)
        .join(model_version, version.id == row.model_version_id)
        .join(newest, newest.c.model_version_id == row.model_version_id)
        .where(version.product_id == product_id, version.state.in_(("candidate", "champion")), sa.not_(_usable()))
        .where(sa.func.coalesce(own.revoked_at, own.created_at) >= newest.c.at)
        .group_by(row.model_version_id)
    )
    return {int(version_id): int(n) for version_id, n in conn.execute(query)}


def worth_a_look(k: int) -> int:
    """How many of the top images are shown before certifying: max(5, 2k), where the k-th is the threshold."""
    return max(FEWEST, 2 * k)


def _of(version_id: int) -> sa.ColumnElement[bool]:
    return calibration_score.c.model_version_id == version_id


def _usable() -> sa.ColumnElement[bool]:
    return sa.and_(sample.c.revoked_at.is_(None), sample.c.role == "calibration")
