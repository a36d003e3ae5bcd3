"""`goodpart users`."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Annotated, Literal

from cyclopts import App, Parameter

from agent.cli.common import Acting, CommandError, Common, new_key, show
from agent.service import passwords
from agent.service import users as service
from agent.settings import utc_now
from agent.store import credentials, users
from agent.store.engine import reading

app = App(name="users", help="List, add and change the people who act. Example: goodpart users add kim --role operator")
Role = Literal["viewer", "operator", "engineer", "admin"]
Stdin = Annotated[bool, Parameter(name="--stdin", help="Read it from standard input, as scripts do.")]


@app.command(name="list")
def list_(*, json: bool = False, common: Common = Common()) -> None:
    """List users, roles, and what they sign in with. Example: goodpart users list --json"""
    with reading(common.database()) as conn:
        rows = [(one.name, one.role, credentials.of(conn, one.id)) for one in users.all(conn)]
    listed = [(name, role, "yes" if own.password else "no", "yes" if own.pin else "no") for name, role, own in rows]
    show(["name", "role", "password", "pin"], listed, as_json=json, empty="no users yet")


@app.command
def add(name: str, *, role: Role, stdin: Stdin = False, acting: Acting = Acting()) -> None:
    """Add a user; the very first must be an admin. Example: goodpart users add kim --role operator --as root

    On a terminal it asks for their password. Enter nothing where they sign in at a provider of identities, or where
    nobody signs in; a script gives one with --stdin.
    """
    engine = acting.database()
    with reading(engine) as conn:
        first = not users.all(conn)
    actor = None if first else acting.actor(engine)
    secret = _secret("password", stdin=stdin, empty="none") if stdin or sys.stdin.isatty() else ""
    if secret:
        passwords.check_password(secret)
    made = service.add(engine, actor, name, role, key=new_key(), now=utc_now())
    if secret:
        service.set_password(engine, actor or made, made.name, secret, key=new_key(), now=utc_now())
    print(f"added {role} {name}{'' if secret else ', without a password'}")


@app.command
def password(name: str, *, stdin: Stdin = False, acting: Acting = Acting()) -> None:
    """Give a user another password; it signs them out everywhere. Example: goodpart users password kim

    From the first password on, the dashboard shows nothing to anybody who is not signed in.
    """
    engine = acting.database()
    actor, secret = acting.actor(engine), _secret("password", stdin=stdin)
    service.set_password(engine, actor, name, secret, key=new_key(), now=utc_now())
    print(f"{name} has a new password")


@app.command
def pin(name: str, *, stdin: Stdin = False, acting: Acting = Acting()) -> None:
    """Give a user a PIN, for a terminal they share and signed in at lately. Example: goodpart users pin kim"""
    engine = acting.database()
    actor, secret = acting.actor(engine), _secret("PIN", stdin=stdin)
    service.set_pin(engine, actor, name, secret, key=new_key(), now=utc_now())
    print(f"{name} has a new PIN")


@app.command(name="set")
def set_(name: str, *, role: Role, acting: Acting = Acting()) -> None:
    """Change a user's role. Example: goodpart users set kim --role engineer"""
    engine = acting.database()
    service.change_role(engine, acting.actor(engine), name, role, key=new_key(), now=utc_now())
    print(f"{name} is now {role}")


@app.command
def disable(name: str, *, acting: Acting = Acting()) -> None:
    """Disable a user at once; what they did stays on record. Example: goodpart users disable kim"""
    engine = acting.database()
    service.disable(engine, acting.actor(engine), name, key=new_key(), now=utc_now())
    print(f"disabled {name}")


def _secret(what: str, *, stdin: bool, empty: str = "") -> str:
    """Asks for it twice without an echo, or reads one line; never from the command line, which others can list."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise CommandError(f"there is no terminal to ask for the {what} on: give it with --stdin")
    first = getpass(f"{what}{f' (empty: {empty})' if empty else ''}: ")
    if first and getpass(f"{what} again: ") != first:
        raise CommandError(f"these are two different ones; the {what} is as it was")
    return first
