"""Leases: a right that one holder has for a while, with a token that fences whoever had it before.

Hosts' clocks may be wrong. An end is held against the reader's clock. Where it lies far ahead, because the holder's
clock did, the reader's stopwatch decides: a lease in which nothing changed for two of its terms has no living holder.
By the end alone, a reader whose clock is behind would think so of every lease: it would take those of the living, and
end their training runs, again and again. A clock that is ahead takes what has not expired yet; the token fences who had
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.store.errors import Fenced
from agent.store.rows import columns, insert, read
from agent.store.tables import lease


@dataclass(frozen=True, slots=True)
class Lease:
    """`token` rises with every acquisition."""

    name: str
    holder: str
    token: int
    expires_at: datetime


# What this process saw of leases that it did not get, and since when, by its stopwatch.
_unchanged: WeakKeyDictionary[Engine, dict[str, tuple[Lease, float]]] = WeakKeyDictionary()


def acquire(conn: Connection, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
    """Takes the lease if it is free, expired or dead; None while it is held, by whomever.

    It is dead where every call of this process for two `ttl` found it unchanged, whatever its end says.
    """
    statement = insert(conn, lease).values(name=name, holder=holder, token=1, expires_at=now + ttl)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "holder": statement.excluded.holder,
            "token": lease.c.token + 1,
            "expires_at": statement.excluded.expires_at,
        },
        where=sa.or_(lease.c.expires_at <= now, lease.c.holder == "", _dead(conn, name, ttl)),
    )
    found = conn.execute(statement.returning(*columns(lease, Lease))).one_or_none()
    return read(Lease, found) if found else None


def _dead(conn: Connection, name: str, ttl: timedelta) -> sa.ColumnElement[bool]:
    """What holds of the row while it is the one that has been seen for too long."""
    row = conn.execute(sa.select(*columns(lease, Lease)).where(lease.c.name == name)).one_or_none()
    if row is None:
        return sa.false()
    seen, found = _unchanged.setdefault(conn.engine, {}), read(Lease, row)
    if name not in seen or seen[name][0] != found:
        seen[name] = (found, monotonic())
    if monotonic() - seen[name][1] < 2 * ttl.total_seconds():
        return sa.false()
    return sa.and_(lease.c.token == found.token, lease.c.expires_at == found.expires_at)


def renew(conn: Connection, held: Lease, ttl: timedelta, now: datetime) -> Lease:
    """Prolongs a lease, also one that expired but that nobody took.

    Raises:
        Fenced: someone else has it, or it was released.
    """
    _change(conn, held, now + ttl)
    return replace(held, expires_at=now + ttl)


def release(conn: Connection, held: Lease, now: datetime) -> None:
    """Gives a lease back; the row stays, because its token must go on rising. Nothing happens where it was lost."""
    conn.execute(_mine(held).values(expires_at=now, holder=""))


def check(conn: Connection, held: Lease, now: datetime) -> None:
    """Checks, in the transaction of a write under the lease, that it still holds.

    Raises:
        Fenced: it was lost or has expired: drop the work.
    """
    query = sa.select(lease.c.expires_at).where(
        lease.c.name == held.name, lease.c.token == held.token, lease.c.holder == held.holder
    )
    expires_at = conn.execute(query.with_for_update()).scalar_one_or_none()
    if expires_at is None or expires_at <= now:
        raise Fenced(f"the lease {held.name} was lost: drop the work done under it")


def _mine(held: Lease) -> sa.Update:
    return sa.update(lease).where(lease.c.name == held.name, lease.c.token == held.token, lease.c.holder == held.holder)


def _change(conn: Connection, held: Lease, until: datetime) -> None:
    if conn.execute(_mine(held).values(expires_at=until)).rowcount != 1:
        raise Fenced(f"the lease {held.name} was taken by someone else: drop the work done under it")
