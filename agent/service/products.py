"""Adding, changing and retiring products. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, Invalid, check_name, perform
from agent.store import products
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.products import Product
from agent.store.rows import KEEP, Keep, changed
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
    product_id: int,
    *,
    teacher: str | Keep | None = KEEP,
    review_rate: float | Keep | None = KEEP,
    key: str,
    now: datetime,
) -> Product:
    """Changes what is given, from the next training and certificate on; None means the configured value.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the rate cannot be used.
        NotFound: there is no such product.
    """
    changes = changed(teacher=teacher, review_rate=review_rate)
    _check_rate(changes.get("review_rate"))

    def work(conn: Connection, _: User) -> Done:
        before = products.get(conn, product_id)
        products.change(conn, product_id, teacher=teacher, review_rate=review_rate)
        return Done({}, f"product:{product_id}", {"from": {name: getattr(before, name) for name in changes}} | changes)

    request = {"product_id": product_id, **changes}
    perform(engine, actor, "product.change", request, work, least="engineer", key=key, now=now)
    return _get(engine, product_id)


def retire(engine: Engine, actor: User, product_id: int, *, key: str, now: datetime) -> Product:
    """Marks a product as no longer made.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such product.
        Conflict: it is retired already.
    """

    def work(conn: Connection, _: User) -> Done:
        if products.get(conn, product_id).retired_at is not None:
            raise Conflict("the product is retired already")
        products.retire(conn, product_id, now)
        return Done({}, f"product:{product_id}", {})

    perform(engine, actor, "product.retire", {"product_id": product_id}, work, least="engineer", key=key, now=now)
    return _get(engine, product_id)


def _get(engine: Engine, product_id: int) -> Product:
    with reading(engine) as conn:
        return products.get(conn, product_id)


def _check_rate(rate: float | None) -> None:
    if rate is not None and not 0 < rate < 1:
        raise Invalid(f"a review rate of {rate} is not between 0 and 1, such as 0.05")
