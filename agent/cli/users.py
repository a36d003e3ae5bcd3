"""`goodpart users`."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from agent.cli.common import Acting, Common, new_key, show
from agent.service import users as service
from agent.settings import utc_now
from agent.store import users
from agent.store.engine import reading

app = App(name="users", help="List, add and change the people who act. Example: goodpart users add kim --role operator")
Role = Literal["viewer", "operator", "engineer", "admin"]


@app.command(name="list")
def list_(*, json: bool = False, common: Common = Common()) -> None:
    """List users and roles. Example: goodpart users list --json"""
    with reading(common.database()) as conn:
        show(["name", "role"], [(user.name, user.role) for user in users.all(conn)], as_json=json, empty="no users yet")


@app.command
def add(name: str, *, role: Role, acting: Acting = Acting()) -> None:
    """Add a user; the very first must be an admin. Example: goodpart users add kim --role operator --as root"""
    engine = acting.database()
    with reading(engine) as conn:
        first = not users.all(conn)
    actor = None if first else acting.actor(engine)
    service.add(engine, actor, name, role, key=new_key(), now=utc_now())
    print(f"added {role} {name}")


@app.command(name="set")
def set_(name: str, *, role: Role, acting: Acting = Acting()) -> None:
    """Change a user's role. Example: goodpart users set kim --role engineer"""
    engine = acting.database()
    service.change_role(engine, acting.actor(engine), name, role, key=new_key(), now=utc_now())
    print(f"{name} is now {role}")


@app.command
def disable(name: str, *, acting: Acting = Acting()) -> None:
    """Disable a user; what they did stays on record. Example: goodpart users disable kim"""
    engine = acting.database()
    service.disable(engine, acting.actor(engine), name, key=new_key(), now=utc_now())
    print(f"disabled {name}")
