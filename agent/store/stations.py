"""Stations: camera positions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import NotFound
from agent.store.rows import KEEP, Keep, changed, columns, insert_new, missing, one, read, read_all, update_one
from agent.store.tables import station


@dataclass(frozen=True, slots=True)
class Station:
    """`product_id` is what it runs when a frame does not say; None of a rate or time means the configured one."""

    id: int
    name: str
    product_id: int | None
    audit_rate: float | None
    status: str  # ok | blind
    status_since: datetime | None
    failures_in_row: int
    last_frame_at: datetime | None
    silent_after_s: float | None  # 0: never
    created_at: datetime
    retired_at: datetime | None

    def silent_after(self, configured: float) -> float:
        """Seconds without a frame after which it is silent; 0: never."""
        return configured if self.silent_after_s is None else self.silent_after_s

    def unwatched(self, configured: float) -> bool:
        """Whether nobody has said when it is silent, so that no alert comes where it stops sending."""
        return self.silent_after_s is None and not configured


def add(
    conn: Connection,
    name: str,
    *,
    product_id: int | None = None,
    audit_rate: float | None = None,
    silent_after_s: float | None = None,
    now: datetime,
) -> Station:
    """Registers a station.

    Raises:
        Conflict: the name is taken.
    """
    row_id = insert_new(
        conn, station, "station", name=name, product_id=product_id, audit_rate=audit_rate,
        silent_after_s=silent_after_s, created_at=now,
    )  # fmt: skip
    return get(conn, row_id)


def find(conn: Connection, name: str) -> Station | None:
    """The station of that name, retired or not."""
    found = conn.execute(sa.select(*columns(station, Station)).where(station.c.name == name)).one_or_none()
    return read(Station, found) if found else None


def named(conn: Connection, name: str) -> Station:
    """As `find`.

    Raises:
        NotFound: there is none.
    """
    found = find(conn, name)
    if found is None:
        raise NotFound("there is no station {name!r}; see: goodpart stations list", name=name)
    return found


def get(conn: Connection, station_id: int) -> Station:
    """The station of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Station, station, station_id)


def all(conn: Connection, *, retired: bool = False) -> list[Station]:
    """Stations by name, with the retired ones if asked."""
    query = sa.select(*columns(station, Station)).order_by(station.c.name)
    return read_all(Station, conn.execute(query if retired else query.where(station.c.retired_at.is_(None))))


def change(
    conn: Connection,
    station_id: int,
    *,
    audit_rate: float | Keep | None = KEEP,
    silent_after_s: float | Keep | None = KEEP,
    retired_at: datetime | Keep | None = KEEP,
) -> None:
    """Changes what is given; what it runs is changed by `changeovers`.

    Raises:
        NotFound: there is no station of that id.
    """
    given = changed(audit_rate=audit_rate, silent_after_s=silent_after_s, retired_at=retired_at)
    update_one(conn, station, station_id, **given)


def set_status(
    conn: Connection, station_id: int, status: str, failures_in_row: int, last_frame_at: datetime, now: datetime
) -> None:
    """Records how the station's frames fare; `status_since` moves only when the status changes.

    Raises:
        NotFound: there is no station of that id.
    """
    given = {"of": station_id, "to": status, "failures": failures_in_row, "seen": last_frame_at, "at": now}
    if conn.execute(_SET_STATUS, given).rowcount != 1:
        raise missing(station, station_id)


_TO = sa.bindparam("to", type_=station.c.status.type)
# Built once: it runs in every transaction of frames, and building it takes longer.
_SET_STATUS = (
    sa.update(station)
    .where(station.c.id == sa.bindparam("of"))
    .values(
        status=_TO,
        status_since=sa.func.coalesce(
            sa.case((station.c.status != _TO, sa.bindparam("at", type_=station.c.status_since.type))),
            station.c.status_since,
        ),
        failures_in_row=sa.bindparam("failures"),
        last_frame_at=sa.bindparam("seen"),
    )
)
