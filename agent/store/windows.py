"""Audit windows: spans of plant time whose drawn parts calibrate once every one of them is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import insert
from agent.store.tables import audit_window, item


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """[starts_at, ends_at), in UTC."""

    starts_at: datetime
    ends_at: datetime

    @property
    def length(self) -> timedelta:
        """Of its span; plant days have 23 to 25 hours."""
        return self.ends_at - self.starts_at

    def holds(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.starts_at <= moment < self.ends_at


def window_at(moment: datetime, hours: int, timezone: tzinfo) -> Window:
    """The window of a moment: cut every `hours` of plant time from midnight on.

    Args:
        moment: aware, and days from either end of time.
        hours: a divisor of 24.
        timezone: the plant's.
    """
    local = moment.astimezone(timezone)
    start = local.replace(hour=local.hour // hours * hours, minute=0, second=0, microsecond=0, fold=0)
    # By the wall's clock: an hour that is left out or comes twice makes a window shorter or longer.
    end = start.replace(tzinfo=None) + timedelta(hours=hours)
    return Window(start.astimezone(UTC), end.replace(tzinfo=timezone).astimezone(UTC))


def admitted(conn: Connection, product_id: int) -> list[Window]:
    """The product's admitted windows, oldest first."""
    row = audit_window.c
    query = sa.select(row.starts_at, row.ends_at).where(row.product_id == product_id)
    return [Window(*found) for found in conn.execute(query.order_by(row.starts_at))]


def waiting(conn: Connection, product_id: int, hours: int, timezone: tzinfo, before: datetime) -> list[Window]:
    """Windows that ended by `before`, have drawn parts and are not admitted; oldest first.

    What it costs depends on the number of windows, not of parts.
    """
    done = admitted(conn, product_id)
    ends = {one.starts_at: one.ends_at for one in done}
    found: list[Window] = []
    cursor: datetime | None = None
    while (moment := _first(conn, product_id, cursor, before)) is not None:
        over = next((one for one in done if one.holds(moment)), None)
        window = over or _fitted(window_at(moment, hours, timezone), moment, done)
        if window.ends_at > before:
            break
        if over is None:
            found.append(window)
        cursor = window.ends_at
        while cursor in ends:
            cursor = ends[cursor]
    return found


def record(
    conn: Connection, product_id: int, window: Window, *, drawn: int, normal: int, defect: int, now: datetime
) -> bool:
    """Records that a window is admitted; False where somebody else did. Counts are of frames."""
    statement = insert(conn, audit_window).values(
        product_id=product_id, starts_at=window.starts_at, ends_at=window.ends_at, drawn=drawn, normal=normal,
        defect=defect, admitted_at=now,
    )  # fmt: skip
    statement = statement.on_conflict_do_nothing(index_elements=["product_id", "starts_at"])
    return conn.execute(statement.returning(audit_window.c.product_id)).scalar_one_or_none() is not None


def _first(conn: Connection, product_id: int, since: datetime | None, before: datetime) -> datetime | None:
    """When the first drawn frame from `since` on was seen."""
    row = item.c
    query = sa.select(sa.func.min(row.event_at)).where(
        row.product_id == product_id, row.kind == "audit", row.event_at < before
    )
    return conn.execute(query if since is None else query.where(row.event_at >= since)).scalar_one_or_none()


def _fitted(window: Window, moment: datetime, done: Sequence[Window]) -> Window:
    """What of a window lies between those admitted, which were cut otherwise if `audit.window_h` was another."""
    starts = [one.ends_at for one in done if window.starts_at < one.ends_at <= moment]
    ends = [one.starts_at for one in done if moment < one.starts_at < window.ends_at]
    return Window(max(starts, default=window.starts_at), min(ends, default=window.ends_at))
