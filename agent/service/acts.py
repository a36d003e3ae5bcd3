"""One act of a person: the same four steps for all of them, in one transaction.

Acts take turns, so that what one of them reads is still so when it writes; people's acts are few, and SQLite's writers
take turns anyway. The actor's role is read anew (it may have changed since the page was drawn), the idempotency key is
taken, the work is done, the audit event is appended. A repeated key gives the first result and changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.phrases import word
from agent.service.ranks import Invalid, PermissionDenied, require
from agent.store import audit, users
from agent.store.engine import writing
from agent.store.errors import Conflict, NotFound
from agent.store.rows import insert
from agent.store.tables import idempotency_key
from agent.store.users import User

LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What an act did: a JSON result, and what the audit trail says of it (None: the work wrote its own event)."""

    result: Mapping[str, Any]
    subject: str | None
    detail: Mapping[str, Any]


def perform(
    engine: Engine,
    actor: User,
    action: str,
    request: Mapping[str, Any],
    work: Callable[[Connection, User], Done],
    *,
    least: str,
    key: str,
    now: datetime,
) -> Mapping[str, Any]:
    """Does `work` once for `key`.

    Args:
        engine: the database.
        actor: who acts; looked up again by id.
        action: its name in the audit trail, such as `review.decide`.
        request: the arguments, JSON; the same key must come with the same ones.
        work: does it on the connection, with the actor as the database knows them now.
        least: the lowest role that may.
        key: idempotency key, new for each act of a page.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low, or they are disabled or unknown.
        Conflict: the key was used for something else.
        Anything `work` raises; nothing is changed then and the key stays free.
    """
    with writing(engine) as conn:
        audit.take_turn(conn)
        actor = current(conn, actor, least, action)
        earlier = take_key(conn, actor.id, action, request, key, now)
        if earlier is not None:
            return earlier
        done = work(conn, actor)
        if done.subject is not None:
            audit.append(conn, actor.id, action, done.subject, done.detail, now)
        finish_key(conn, key, done.result)
        return done.result


def current(conn: Connection, actor: User, least: str, action: str) -> User:
    """The actor as the database knows them now.

    Raises:
        PermissionDenied: they may not do this.
    """
    try:
        known = users.get(conn, actor.id)
    except NotFound:
        raise PermissionDenied("{name} is not a user: goodpart users add {name}", name=actor.name) from None
    require(known, least, action)
    return known


def take_key(
    conn: Connection, user_id: int, action: str, request: Mapping[str, Any], key: str, now: datetime
) -> Mapping[str, Any] | None:
    """Takes the key; the first result where it was taken for the same act.

    Raises:
        Invalid: it is empty or too long.
        Conflict: it was taken for something else.
    """
    if not 0 < len(key) <= LONGEST_KEY:
        raise Invalid("an idempotency key has 1 to {longest} characters", longest=LONGEST_KEY)
    row = idempotency_key.c
    digest = hashlib.sha256(json.dumps(dict(request), sort_keys=True).encode()).hexdigest()
    statement = insert(conn, idempotency_key).values(
        key=key, user_id=user_id, action=action, request=digest, created_at=now
    )
    taken = conn.execute(statement.on_conflict_do_nothing(index_elements=["key"]).returning(row.key))
    if taken.scalar_one_or_none() is not None:
        return None
    first = conn.execute(sa.select(idempotency_key).where(row.key == key)).one()
    if (first.user_id, first.action, first.request) != (user_id, action, digest):
        raise Conflict("this idempotency key was used for something else: use a new one for each act")
    return dict(first.result)


def finish_key(conn: Connection, key: str, result: Mapping[str, Any]) -> None:
    """Remembers the result for a repetition."""
    conn.execute(sa.update(idempotency_key).where(idempotency_key.c.key == key).values(result=dict(result)))


def check_name(name: str, what: str) -> str:
    """The name without surrounding blanks.

    Raises:
        Invalid: it is empty, too long or not printable.
    """
    name = name.strip()
    if not (0 < len(name) <= 200 and name.isprintable()):
        raise Invalid("a {what}'s name has 1 to 200 printable characters", what=word(what))
    return name
