"""Asking for a training run now. For engineers; an agent does it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, perform
from agent.store import commands, products, runs
from agent.store.errors import Conflict
from agent.store.users import User

KIND = "retrain"


def request(engine: Engine, actor: User, product_id: int, *, cold: bool = False, key: str, now: datetime) -> int:
    """Queues a `retrain` command with args `{"product_id": ..., "cold": ...}`; returns its id.

    `cold`: from fresh weights, so that nothing of a revoked sample stays.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such product.
        Conflict: it is retired.
    """
    args = {"product_id": product_id, "cold": cold}

    def work(conn: Connection, actor: User) -> Done:
        if products.get(conn, product_id).retired_at is not None:
            raise Conflict("the product is retired")
        command_id = commands.add(conn, KIND, args, actor.id, now)
        return Done({"id": command_id}, f"product:{product_id}", {"command_id": command_id})

    done = perform(engine, actor, "retrain.request", args, work, least="engineer", key=key, now=now)
    return int(done["id"])


def cancel(engine: Engine, actor: User, run_id: int, *, reason: str, key: str, now: datetime) -> None:
    """Cancels a queued or running training run; its process sees it at its next progress.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such run.
        Conflict: it has ended already.
    """

    def work(conn: Connection, _: User) -> Done:
        runs.get(conn, run_id)
        runs.close(conn, run_id, "cancelled", reason, now)
        return Done({}, f"training_run:{run_id}", {"reason": reason})

    asked = {"run_id": run_id, "reason": reason}
    perform(engine, actor, "retrain.cancel", asked, work, least="engineer", key=key, now=now)
