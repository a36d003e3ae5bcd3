"""Day partitions of `inspection` on PostgreSQL; on SQLite it is one plain table, and there is nothing to do.

Their names say what they hold, in UTC: `inspection_yYYYYmMMdDD` that day, `inspection_before_yYYYYmMMdDD` all before it
(what was there when the table was partitioned), `inspection_default` whatever no other one takes.

Locks, with the recorder in mind, which inserts all the time:

- `CREATE TABLE ... PARTITION OF` would lock the whole table against everybody. A table made on its own and attached
  afterwards takes SHARE UPDATE EXCLUSIVE there, under which rows are inserted and read. Only the default partition is
  locked, against writers while its rows of that day move, against everybody while it is looked through for more of
  them; and the tables that a frame refers to, against writers, for the moment of attaching.
- `DROP TABLE` of a partition locks the whole table for a moment. `DETACH ... CONCURRENTLY` would not, but PostgreSQL
  refuses it beside a default partition.
- Who waits for a lock holds up whoever comes after, so a lock is waited for no longer than `WAIT_MS`; and no statement
  under a lock runs longer than `WORK_MS`. Two of them and the wait are less than the recorder's `lock_timeout` of 2 s.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

WAIT_MS, WORK_MS = 200, 800
CHECK_VIOLATION = "23514"  # SQLSTATE
_NAME = re.compile(r"inspection_(before_)?y(\d{4})m(\d\d)d(\d\d)")


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """The inspections of the UTC days from `first` (None: from the beginning) until before `end`."""

    end: date
    first: date | None

    @property
    def name(self) -> str:
        """The table's."""
        return f"inspection_before_{self.end:y%Ym%md%d}" if self.first is None else f"inspection_{self.first:y%Ym%md%d}"

    def holds(self, day: date) -> bool:
        """Whether it takes the frames of that day."""
        return day < self.end and (self.first is None or self.first <= day)


def of_day(day: date) -> Partition:
    """The partition of one day."""
    return Partition(day + timedelta(days=1), day)


def all(conn: Connection) -> list[Partition]:
    """Those that there are, the oldest first, without the default one; none on SQLite."""
    if conn.dialect.name != "postgresql":
        return []
    query = (
        "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'inspection'::regclass"
    )
    found = []
    for name in conn.execute(sa.text(query)).scalars():
        if match := _NAME.fullmatch(name):
            day = date(*map(int, match.groups()[1:]))
            found.append(Partition(day, None) if match[1] else of_day(day))
    return sorted(found, key=lambda one: one.end)


def missing(there: Collection[Partition], today: date, ahead: int) -> list[date]:
    """The days from today to `ahead` days later that no partition holds."""
    days = (today + timedelta(days=n) for n in range(ahead + 1))
    return [day for day in days if not any(one.holds(day) for one in there)]


def add(conn: Connection, day: date) -> int:
    """Makes the partition of that day and moves what the default one holds of it; returns how many rows that were.

    In a transaction of its own. A day that has one already is left alone.

    Raises:
        Unreachable: a lock was not to be had in `WAIT_MS`, or there was more to do than `WORK_MS` allow.
    """
    _in_short(conn)
    # One at a time, also where two agents do the chore at once.
    conn.execute(sa.text("LOCK TABLE ONLY inspection IN SHARE UPDATE EXCLUSIVE MODE"))
    if not missing(all(conn), day, 0):
        return 0
    name, first, end = of_day(day).name, f"'{day} 00:00:00+00'", f"'{day + timedelta(days=1)} 00:00:00+00'"
    like = "LIKE inspection INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES"
    conn.execute(sa.text(f"CREATE TABLE {name} ({like})"))
    # Or a row could come in between the move and the attaching, which would then fail.
    conn.execute(sa.text("LOCK TABLE inspection_default IN SHARE ROW EXCLUSIVE MODE"))
    taken = f"DELETE FROM inspection_default WHERE event_at >= {first} AND event_at < {end} RETURNING *"
    moved = conn.execute(sa.text(f"WITH taken AS ({taken}) INSERT INTO {name} SELECT * FROM taken")).rowcount
    conn.execute(sa.text(f"ALTER TABLE inspection ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end})"))
    return moved


def outran(error: IntegrityError) -> bool:
    """Whether a row was on its way to the default partition, and waited there for `add`, which gave its day another."""
    told = getattr(error.orig, "diag", None)
    # A partition's bounds are the one check without a name.
    found = told and (told.sqlstate, told.table_name, told.constraint_name)
    return found == (CHECK_VIOLATION, "inspection_default", None)


def drop(conn: Connection, one: Partition) -> None:
    """Drops a partition with its rows, in a transaction of its own.

    Raises:
        Unreachable: the lock was not to be had in `WAIT_MS`.
    """
    _in_short(conn)
    conn.execute(sa.text(f"DROP TABLE IF EXISTS {one.name}"))


def _in_short(conn: Connection) -> None:
    for name, milliseconds in (("lock_timeout", WAIT_MS), ("statement_timeout", WORK_MS)):
        conn.execute(sa.text(f"SET LOCAL {name} = {milliseconds}"))
