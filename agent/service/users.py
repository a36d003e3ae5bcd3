"""Who may act: admins add users, change their roles and disable them; passwords and PINs are also their owners'."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.service import passwords
from agent.service.acts import Done, check_name, finish_key, perform, take_key
from agent.service.ranks import Invalid, PermissionDenied, require
from agent.store import audit, credentials, sessions, users
from agent.store.engine import writing
from agent.store.errors import Conflict
from agent.store.users import ROLES, User


def add(engine: Engine, actor: User | None, name: str, role: str, *, key: str, now: datetime) -> User:
    """Adds a user. The first one of all is an admin and needs no actor.

    Raises:
        PermissionDenied: the actor is no admin, or there is none and there are users.
        Invalid: the name or the role cannot be used.
        Conflict: the name is taken.
    """
    name, role = check_name(name, "user"), _role(role)
    request = {"name": name, "role": role}

    def work(conn: Connection, _: User) -> Done:
        made = users.add(conn, name, role, now)
        return Done({"id": made.id}, f"user:{made.id}", request)

    if actor is not None:
        row_id = perform(engine, actor, "user.add", request, work, least="admin", key=key, now=now)["id"]
        return User(row_id, name, role)
    with writing(engine) as conn:
        audit.take_turn(conn)
        return _first(conn, name, role, key, now)


def _first(conn: Connection, name: str, role: str, key: str, now: datetime) -> User:
    known = users.all(conn, disabled=True)
    if known:
        names = ", ".join(user.name for user in known if user.role == "admin" and user.disabled_at is None)
        raise PermissionDenied("only an admin adds users: act as one of {names}", names=names or Phrase("the admins"))
    if role != "admin":
        raise Invalid("the first user must be an admin, who then adds the others")
    made = users.add(conn, name, role, now)
    request = {"name": name, "role": role}
    take_key(conn, made.id, "user.add", request, key, now)
    audit.append(conn, made.id, "user.add", f"user:{made.id}", request, now)
    finish_key(conn, key, {"id": made.id})
    return made


def change_role(engine: Engine, actor: User, name: str, role: str, *, key: str, now: datetime) -> User:
    """Gives a user another role.

    Raises:
        PermissionDenied: the actor is no admin.
        Invalid: there is no such role.
        NotFound: there is no such user.
        Conflict: they are the last admin.
    """
    role = _role(role)

    def work(conn: Connection, _: User) -> Done:
        before = users.named(conn, name)
        users.change_role(conn, before.id, role)
        _keep_an_admin(conn)
        return Done({"id": before.id}, f"user:{before.id}", {"from": before.role, "to": role})

    request = {"name": name, "role": role}
    done = perform(engine, actor, "user.change_role", request, work, least="admin", key=key, now=now)
    return User(done["id"], name, role)


def disable(engine: Engine, actor: User, name: str, *, key: str, now: datetime) -> None:
    """Ends what a user may do; their name stays on what they did.

    Raises:
        PermissionDenied: the actor is no admin.
        NotFound: there is no such user.
        Conflict: they are the last admin.
    """

    def work(conn: Connection, _: User) -> Done:
        user = users.named(conn, name)
        users.disable(conn, user.id, now)
        _keep_an_admin(conn)
        sessions.end_all(conn, user.id, now)
        return Done({}, f"user:{user.id}", {"name": name})

    perform(engine, actor, "user.disable", {"name": name}, work, least="admin", key=key, now=now)


def set_password(engine: Engine, actor: User, name: str, password: str, *, key: str, now: datetime) -> None:
    """Gives a user a password, or themselves another. They are signed out everywhere, and their PIN goes.

    Raises:
        PermissionDenied: the actor is neither they nor an admin.
        Invalid: it is too short or too long.
        NotFound: there is no such user.
    """
    digest = passwords.digest(passwords.check_password(password))

    def work(conn: Connection, actor: User) -> Done:
        user = _own(conn, actor, name, "user.set_password")
        credentials.set_password(conn, user.id, digest)
        credentials.set_pin(conn, user.id, None)
        sessions.forget(conn, user.id)  # a new PIN does where somebody has typed the new password
        return Done({}, f"user:{user.id}", {"name": name})

    # Neither a password nor a PIN is ever part of a request, whose hash is kept and quickly guessed.
    perform(engine, actor, "user.set_password", {"name": name}, work, least="viewer", key=key, now=now)


def set_pin(engine: Engine, actor: User, name: str, pin: str, *, key: str, now: datetime) -> None:
    """Gives a user a PIN, or themselves another.

    Raises:
        PermissionDenied: the actor is neither they nor an admin.
        Invalid: it is no PIN, or an easy one.
        NotFound: there is no such user.
    """
    digest = passwords.digest(passwords.check_pin(pin))

    def work(conn: Connection, actor: User) -> Done:
        user = _own(conn, actor, name, "user.set_pin")
        credentials.set_pin(conn, user.id, digest)
        return Done({}, f"user:{user.id}", {"name": name})

    perform(engine, actor, "user.set_pin", {"name": name}, work, least="viewer", key=key, now=now)


def _own(conn: Connection, actor: User, name: str, action: str) -> User:
    if actor.name != name:
        require(actor, "admin", action)
    return users.named(conn, name)


def _role(role: str) -> str:
    if role not in ROLES:
        raise Invalid("{role!r} is not a role; {roles} are", role=role, roles=", ".join(ROLES))
    return role


def _keep_an_admin(conn: Connection) -> None:
    if not any(user.role == "admin" for user in users.all(conn)):
        raise Conflict("that would leave no admin: make another user an admin first")
