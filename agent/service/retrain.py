"""Asking for a training run now. For engineers; an agent does it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, perform
from agent.service.ranks import Invalid
from agent.store import commands, products, runs
from agent.store.errors import Conflict
from agent.store.users import User

KIND = "retrain"


def request(engine: Engine, actor: User, product_id: int, *, cold: bool = False, key: str, now: datetime) -> int:
    """Queues a `retrain` command; returns its id.

    Args:
        engine: the database.
        actor: an engineer or higher.
        product_id: what to train.
        cold: start from fresh weights, whatever `retrain.warm` says, so that nothing of a revoked sample stays.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such product.
        Conflict: it is retired.
    """
    args = {"product_id": product_id, "cold": cold}

    def work(conn: Connection, actor: User) -> Done:
        command_id = ask(conn, actor, product_id, cold=cold, now=now)
        return Done({"id": command_id}, f"product:{product_id}", {"command_id": command_id})

    done = perform(engine, actor, "retrain.request", args, work, least="engineer", key=key, now=now)
    return int(done["id"])


def ask(
    conn: Connection, actor: User, product_id: int, *, cold: bool = False, trigger: str = "person", now: datetime
) -> int:
    """Queues a `retrain` command within another act; returns its id. `trigger` is person or teach.

    Raises:
        NotFound: there is no such product.
        Conflict: it is retired.
    """
    if products.get(conn, product_id).retired_at is not None:
        raise Conflict("the product is retired")
    return commands.add(conn, KIND, {"product_id": product_id, "cold": cold, "trigger": trigger}, actor.id, now)


def cancel(engine: Engine, actor: User, run_id: int, *, reason: str, key: str, now: datetime) -> None:
    """Cancels a queued or running training run; its process sees it within a second, at its next step.

    What it has starts no other run by itself: that takes newly accepted samples, or a person.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such run.
        Conflict: it has ended already.
    """
    if not reason.strip():
        raise Invalid("say why, for the record")

    def work(conn: Connection, _: User) -> Done:
        runs.get(conn, run_id)
        runs.close(conn, run_id, "cancelled", reason, now, by_person=True)
        return Done({}, f"training_run:{run_id}", {"reason": reason})

    asked = {"run_id": run_id, "reason": reason}
    perform(engine, actor, "retrain.cancel", asked, work, least="engineer", key=key, now=now)
