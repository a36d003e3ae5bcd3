"""Users and their roles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import NotFound
from agent.store.rows import columns, insert_new, one, read, read_all, update_one
from agent.store.tables import user

ROLES = ("viewer", "operator", "engineer", "admin")  # each may do what the ones before it may


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may act. Disabled users stay, because reviews and audit events name them."""

    id: int
    name: str
    role: str
    disabled_at: datetime | None = None


def add(conn: Connection, name: str, role: str, now: datetime) -> User:
    """Adds a user.

    Raises:
        Conflict: the name is taken.
    """
    return User(insert_new(conn, user, "user", name=name, role=role, created_at=now), name, role)


def find(conn: Connection, name: str) -> User | None:
    """The user of that name, disabled or not."""
    found = conn.execute(sa.select(*columns(user, User)).where(user.c.name == name)).one_or_none()
    return read(User, found) if found else None


def named(conn: Connection, name: str) -> User:
    """As `find`.

    Raises:
        NotFound: there is none.
    """
    found = find(conn, name)
    if found is None:
        raise NotFound("there is no user {name!r}; see: goodpart users list", name=name)
    return found


def get(conn: Connection, user_id: int) -> User:
    """The user of that id, disabled or not.

    Raises:
        NotFound: there is none.
    """
    return one(conn, User, user, user_id)


def all(conn: Connection, *, disabled: bool = False) -> list[User]:
    """Users by name, with the disabled ones if asked."""
    query = sa.select(*columns(user, User)).order_by(user.c.name)
    return read_all(User, conn.execute(query if disabled else query.where(user.c.disabled_at.is_(None))))


def change_role(conn: Connection, user_id: int, role: str) -> None:
    """Gives a user another role.

    Raises:
        NotFound: there is none of that id.
    """
    update_one(conn, user, user_id, role=role)


def disable(conn: Connection, user_id: int, now: datetime) -> None:
    """Ends what a user may do.

    Raises:
        NotFound: there is none of that id.
    """
    update_one(conn, user, user_id, disabled_at=now)
