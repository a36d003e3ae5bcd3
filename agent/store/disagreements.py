"""The parts of a watch that one of its two models flags and the other passes.

Which model flagged a part is told only once people have judged all of its frames that wait, at whatever station: their
verdicts decide between the two models.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import items
from agent.store.rows import names, read_all
from agent.store.tables import item, shadow_score, station, watch

_SHOWN = ("decision", "frame_sha256", "preview_sha256", "overlay_sha256", "other_overlay_sha256")


@dataclass(frozen=True, slots=True)
class Split:
    """How many parts were flagged by which of the two models; `waiting` of the flagged ones are not judged yet."""

    decides_only: int = 0
    other_only: int = 0
    both: int = 0
    neither: int = 0
    waiting: int = 0

    @property
    def parts(self) -> int:
        """All of them."""
        return self.decides_only + self.other_only + self.both + self.neither


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One flagged frame of a part that only one model flags; `flagged` and `score` are of the one that decided.

    `overlay_sha256` is the frame under the heatmap of the model that flagged it, `other_overlay_sha256` under that of
    the one that passed it, None of older frames. Pictures are None once let go.
    """

    event_at: datetime
    station: str
    part: str
    flagged: bool
    other_flagged: bool
    score: float | None
    other_score: float | None
    decision: str | None  # normal | defect
    frame_sha256: str | None
    preview_sha256: str | None
    overlay_sha256: str | None
    other_overlay_sha256: str | None


def split(conn: Connection, watch_id: int) -> Split:
    """Counts the parts of a watch."""
    part = _parts(watch_id)
    query = sa.select(part.c.flagged, part.c.other, part.c.waits, sa.func.count())
    rows = conn.execute(query.group_by(part.c.flagged, part.c.other, part.c.waits)).all()

    def count(flagged: int, other: int) -> int:
        return sum(n for one, two, _, n in rows if (one, two) == (flagged, other))

    waiting = sum(n for *_, waits, n in rows if waits)
    return Split(count(1, 0), count(0, 1), count(1, 1), count(0, 0), waiting)


def page(conn: Connection, watch_id: int, *, by_other: bool, limit: int) -> list[Disagreement]:
    """The judged parts that one model alone flagged, the newest first.

    Args:
        conn: any transaction.
        watch_id: of the watch.
        by_other: those of the model beside what decides, instead of its own.
        limit: frames at most.
    """
    row, part = shadow_score.c, _parts(watch_id)
    shown = tuple(item.c[name] for name in _SHOWN)
    known = (row.event_at, row.part, row.flagged, row.other_flagged, row.score, row.other_score)
    found = {one.name: one for one in (*known, *shown)} | {"station": station.c.name.label("station")}
    query = (
        sa.select(*(found[name] for name in names(Disagreement)))
        .join(part, sa.and_(part.c.station_id == row.station_id, part.c.part == row.part))
        .join(item, _same_frame())
        .join(station, station.c.id == row.station_id)
        .where(row.watch_id == watch_id, part.c.waits == 0)
        .where(part.c.flagged == int(not by_other), part.c.other == int(by_other))
        .where(row.other_flagged.is_(True) if by_other else row.flagged.is_(True))
        .order_by(row.event_at.desc(), item.c.id.desc())
    )
    return read_all(Disagreement, conn.execute(query.limit(limit)))


def _parts(watch_id: int) -> sa.Subquery:
    """Each part of a watch: whether any of its frames was flagged by either model, and whether any waits."""
    row = shadow_score.c
    product_id = sa.select(watch.c.product_id).where(watch.c.id == watch_id).scalar_subquery()
    waits = sa.or_(item.c.state != "closed", items.part_waits(product_id, row.part))

    def any_of(condition: sa.ColumnElement[bool], name: str) -> sa.Label[Any]:
        return sa.func.max(sa.case((condition, 1), else_=0)).label(name)

    return (
        sa.select(
            row.station_id, row.part, any_of(row.flagged.is_(True), "flagged"),
            any_of(row.other_flagged.is_(True), "other"), any_of(waits, "waits"),
        )
        .outerjoin(item, _same_frame())
        .where(row.watch_id == watch_id)
        .group_by(row.station_id, row.part)
        .subquery()
    )  # fmt: skip


def _same_frame() -> sa.ColumnElement[bool]:
    row = shadow_score.c
    return sa.and_(item.c.stream_id == row.stream_id, item.c.partition == row.partition, item.c.offset == row.offset)
