"""Leases: a right that one holder has for a while, with a token that fences whoever had it before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

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


def acquire(conn: Connection, name: str, holder: str, ttl: timedelta, now: datetime) -> Lease | None:
    """Takes the lease if it is free or expired; None while it is held, by whomever."""
    statement = insert(conn, lease).values(name=name, holder=holder, token=1, expires_at=now + ttl)
    statement = statement.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "holder": statement.excluded.holder,
            "token": lease.c.token + 1,
            "expires_at": statement.excluded.expires_at,
        },
        where=lease.c.expires_at <= now,
    )
    found = conn.execute(statement.returning(*columns(lease, Lease))).one_or_none()
    return read(Lease, found) if found else None


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
