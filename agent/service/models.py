"""Promoting a model version, rejecting one, rolling back, certifying anew. For engineers.

The registry writes the audit events of what changes what decides.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import Phrase
from agent.service.acts import Done, perform
from agent.service.ranks import Invalid
from agent.store import certificates, commands, registry, watches
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.registry import Deployment
from agent.store.users import User

RECERTIFY = "recertify"  # a command with args {"product_id", "version_id", "number", "reason"}


def promote(
    engine: Engine,
    actor: User,
    version_id: int,
    reason: str,
    config_hash: str,
    *,
    key: str,
    now: datetime,
    watch_share: float = 0.0,
    expected: int | None = None,
) -> Deployment:
    """Makes a version its product's champion; every agent swaps to it between two batches.

    Args:
        engine: the database.
        actor: an engineer or higher.
        version_id: any version of the product; its newest certificate holds. Without one, all it sees goes to review.
        reason: why, in words.
        config_hash: Settings.decision_hash.
        key: idempotency key.
        now: the time.
        watch_share: watch.share: the share of the parts that the champion before goes on scoring, for a watch.
        expected: the live deployment that the actor has on screen, 0 for none; None: they look at none.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such version.
        Conflict: another deployment is live.
    """
    _check(reason)

    def work(conn: Connection, actor: User) -> Done:
        issued = certificates.of_version(conn, version_id)
        made = registry.promote(
            conn,
            version_id=version_id,
            certificate_id=issued[0].id if issued else None,
            config_hash=config_hash,
            reason=reason,
            by=actor.id,
            now=now,
            watch_share=watch_share,
            expected=expected,
        )
        return Done({"product_id": made.product_id, "id": made.id}, None, {})

    request = {"version_id": version_id, "reason": reason, "config": config_hash} | _seen(expected)
    done = perform(engine, actor, "model.promote", request, work, least="engineer", key=key, now=now)
    return _deployment(engine, done["product_id"], done["id"])


def rollback(
    engine: Engine,
    actor: User,
    product_id: int,
    reason: str,
    *,
    key: str,
    now: datetime,
    expected: int | None = None,
) -> Deployment:
    """Goes back to the model before the live one, which becomes `rejected`; `expected`: see `promote`.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such product.
        Conflict: there is no earlier model, or another deployment is live than expected.
    """
    _check(reason)

    def work(conn: Connection, actor: User) -> Done:
        made = registry.rollback(
            conn, product_id=product_id, reason=reason, by=actor.id, now=now, expected=expected
        )  # fmt: skip
        return Done({"id": made.id}, None, {})

    request = {"product_id": product_id, "reason": reason} | _seen(expected)
    done = perform(engine, actor, "model.rollback", request, work, least="engineer", key=key, now=now)
    return _deployment(engine, product_id, done["id"])


def reject(engine: Engine, actor: User, version_id: int, reason: str, *, key: str, now: datetime) -> None:
    """Takes a candidate out of the choice; its shadow ends, and a person may promote it after all.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such version.
        Conflict: it is no candidate.
    """
    _check(reason)

    def work(conn: Connection, actor: User) -> Done:
        chosen = registry.version(conn, version_id)
        registry.lock_live(conn, chosen.product_id)
        beside = watches.active(conn, chosen.product_id)
        registry.reject(conn, version_id, reason)
        if beside and beside.other_version_id == version_id:
            n, name = chosen.number, actor.name
            words = Phrase("v{n} was rejected by {name}: {reason}", n=n, name=name, reason=reason)
            watches.end(conn, chosen.product_id, words, now)
        detail = {"product_id": chosen.product_id, "version": chosen.number, "reason": reason}
        return Done({}, f"model_version:{version_id}", detail)

    request = {"version_id": version_id, "reason": reason}
    perform(engine, actor, "model.reject", request, work, least="engineer", key=key, now=now)


def ask_recertify(engine: Engine, actor: User, version_id: int, reason: str, *, key: str, now: datetime) -> int:
    """Asks an agent to certify a version on what is left of its calibration set; returns the command's id.

    Args:
        engine: the database.
        actor: an engineer or higher, still when the agent does it.
        version_id: the version.
        reason: why, in words.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such version.
        Conflict: an agent was asked for one of the product already.
    """
    _check(reason)

    def work(conn: Connection, actor: User) -> Done:
        chosen = registry.version(conn, version_id)
        last = commands.of_product(conn, RECERTIFY, chosen.product_id)
        if last is not None and last.state in commands.PENDING:
            raise Conflict("an agent was asked for this already; it is at it, or no agent runs: goodpart agent")
        args = {"product_id": chosen.product_id, "version_id": version_id, "number": chosen.number, "reason": reason}
        command_id = commands.add(conn, RECERTIFY, args, actor.id, now)
        return Done({"id": command_id}, f"model_version:{version_id}", {"command_id": command_id, "reason": reason})

    request = {"version_id": version_id, "reason": reason}
    done = perform(engine, actor, "model.ask_recertify", request, work, least="engineer", key=key, now=now)
    return int(done["id"])


def _check(reason: str) -> None:
    if not reason.strip():
        raise Invalid("say why, for the record")


def _seen(expected: int | None) -> dict[str, int]:
    return {} if expected is None else {"expected": expected}


def _deployment(engine: Engine, product_id: int, deployment_id: int) -> Deployment:
    with reading(engine) as conn:
        return next(one for one in registry.deployments(conn, product_id) if one.id == deployment_id)
