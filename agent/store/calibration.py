"""What each model version scored on each calibration sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import read_all
from agent.store.tables import calibration_score, sample

FEWEST = 5  # images that are looked through before a certificate is trusted


@dataclass(frozen=True, slots=True)
class Calibrator:
    """A calibration sample and its score; `item_id` where it came from the stream, `usable` if it is not revoked."""

    sample_id: int
    score: float
    serial: str | None
    item_id: int | None
    blob_sha256: str
    usable: bool


def add_all(conn: Connection, version_id: int, scores: Mapping[int, float]) -> None:
    """Adds a version's scores by sample id; they are finite."""
    rows = [{"model_version_id": version_id, "sample_id": one, "score": score} for one, score in scores.items()]
    if rows:
        conn.execute(sa.insert(calibration_score), rows)


def scores_of(conn: Connection, version_id: int) -> dict[int, float]:
    """A version's scores by sample id; empty for a version made before they were kept."""
    query = sa.select(calibration_score.c.sample_id, calibration_score.c.score)
    return {int(row[0]): float(row[1]) for row in conn.execute(query.where(_of(version_id)))}


def top(conn: Connection, version_id: int, limit: int) -> list[Calibrator]:
    """The samples with the largest scores of a version, largest first."""
    query = (
        sa.select(
            calibration_score.c.sample_id, calibration_score.c.score, sample.c.serial, sample.c.item_id,
            sample.c.blob_sha256, _usable().label("usable"),
        )
        .join(sample, sample.c.id == calibration_score.c.sample_id)
        .where(_of(version_id))
        .order_by(calibration_score.c.score.desc(), calibration_score.c.sample_id)
        .limit(limit)
    )  # fmt: skip
    return read_all(Calibrator, conn.execute(query))


def worth_a_look(k: int) -> int:
    """How many of the top images are shown before certifying: max(5, 2k), where the k-th is the threshold."""
    return max(FEWEST, 2 * k)


def _of(version_id: int) -> sa.ColumnElement[bool]:
    return calibration_score.c.model_version_id == version_id


def _usable() -> sa.ColumnElement[bool]:
    return sa.and_(sample.c.revoked_at.is_(None), sample.c.role == "calibration")
