"""Adding, changing and retiring products. For engineers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, check_name, perform
from agent.service.ranks import Invalid
from agent.store import products
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.products import Product
from agent.store.users import User


def add(
    engine: Engine,
    actor: User,
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    key: str,
    now: datetime,
) -> Product:
    """Registers a product; running agents know it within seconds.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: as frames name it.
        teacher: None for the configured one.
        review_rate: share of good parts sent to review at most, of its next certificate; None for the configured one.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the name or the rate cannot be used.
        Conflict: the name is taken.
    """
    name = check_name(name, "product")
    _check_rate(review_rate)
    request = {"name": name, "teacher": teacher, "review_rate": review_rate}

    def work(conn: Connection, _: User) -> Done:
        made = products.add(conn, name, teacher=teacher, review_rate=review_rate, now=now)
        return Done({"id": made.id}, f"product:{made.id}", request)

    done = perform(engine, actor, "product.add", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def change(
    engine: Engine,
    actor: User,
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    key: str,
    now: datetime,
) -> Product:
    """Changes what is given (not None), from the next training and certificate on.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the rate cannot be used.
        NotFound: there is no such product.
    """
    given: dict[str, Any] = {"teacher": teacher, "review_rate": review_rate}
    changes = {field: value for field, value in given.items() if value is not None}
    _check_rate(review_rate)

    def work(conn: Connection, _: User) -> Done:
        before = products.named(conn, name)
        products.change(conn, before.id, **changes)
        detail = {"from": {field: getattr(before, field) for field in changes}, "to": changes}
        return Done({"id": before.id}, f"product:{before.id}", detail)

    request = {"name": name, **changes}
    done = perform(engine, actor, "product.change", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def retire(engine: Engine, actor: User, name: str, *, key: str, now: datetime) -> Product:
    """Marks a product as no longer made.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such product.
        Conflict: it is retired already.
    """

    def work(conn: Connection, _: User) -> Done:
        product = products.named(conn, name)
        if product.retired_at is not None:
            raise Conflict(f"{name} is retired already")
        products.retire(conn, product.id, now)
        return Done({"id": product.id}, f"product:{product.id}", {"name": name})

    done = perform(engine, actor, "product.retire", {"name": name}, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def _get(engine: Engine, product_id: int) -> Product:
    with reading(engine) as conn:
        return products.get(conn, product_id)


def _check_rate(rate: float | None) -> None:
    if rate is not None and not 0 < rate < 1:
        raise Invalid(f"a review rate of {rate} is not between 0 and 1, such as 0.05")
