"""What people prove themselves with: Argon2 hashes of password and PIN. The texts themselves are nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.rows import columns, insert, read
from agent.store.tables import credential


@dataclass(frozen=True, slots=True)
class Credential:
    """The hashes of one user, and how many wrong PINs came in a row."""

    user_id: int
    password: str | None = field(default=None, repr=False)
    pin: str | None = field(default=None, repr=False)
    pin_failures: int = 0


def of(conn: Connection, user_id: int) -> Credential:
    """A user's; empty where they have none."""
    query = sa.select(*columns(credential, Credential)).where(credential.c.user_id == user_id)
    found = conn.execute(query).one_or_none()
    return read(Credential, found) if found else Credential(user_id)


def any(conn: Connection) -> bool:
    """Whether anybody has a password, be they disabled or not."""
    query = sa.select(sa.exists().where(credential.c.password.is_not(None)))
    return bool(conn.execute(query).scalar_one())


def set_password(conn: Connection, user_id: int, digest: str) -> None:
    """Takes the place of the one before."""
    _set(conn, user_id, password=digest)


def set_pin(conn: Connection, user_id: int, digest: str | None) -> None:
    """Takes the place of the one before; None: there is none any more."""
    _set(conn, user_id, pin=digest, pin_failures=0)


def count_pin(conn: Connection, user_id: int, *, right: bool) -> int:
    """Counts a try; how many wrong ones came in a row now."""
    row = credential.c
    n = sa.literal(0) if right else row.pin_failures + 1
    statement = sa.update(credential).where(row.user_id == user_id).values(pin_failures=n).returning(row.pin_failures)
    return int(conn.execute(statement).scalar_one_or_none() or 0)


def _set(conn: Connection, user_id: int, **changes: object) -> None:
    row = {"user_id": user_id, "pin_failures": 0, **changes}
    statement = insert(conn, credential).values(**row)
    conn.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=changes))
