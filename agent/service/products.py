"""Adding, changing and retiring products. For engineers."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError
from sqlalchemy import Connection, Engine

from agent.service.acts import Done, check_name, perform
from agent.service.ranks import Invalid
from agent.settings import Input
from agent.store import products
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.products import Product
from agent.store.users import User

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST_MASK = 1 << 20  # characters


def _mask(text: str) -> str:
    try:
        picture = base64.b64decode(text, validate=True)
    except binascii.Error:
        picture = b""
    if text and (len(text) > LARGEST_MASK or not picture.startswith(PNG)):
        raise ValueError("a PNG in base64 of at most 1 MiB is allowed, or '' for no mask")
    return text


class _Own(Input):
    ignore: Annotated[str, AfterValidator(_mask)] = ""


def add(
    engine: Engine,
    actor: User,
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    input: Mapping[str, Any] | None = None,
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
        input: what differs from the configured input, see `agent.store.products.Product`; None for nothing.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the name, the rate or the input cannot be used.
        Conflict: the name is taken.
    """
    name = check_name(name, "product")
    _check_rate(review_rate)
    own = _checked(input or {}) or None
    request = {"name": name, "teacher": teacher, "review_rate": review_rate, "input": own}

    def work(conn: Connection, _: User) -> Done:
        made = products.add(conn, name, teacher=teacher, review_rate=review_rate, input=own, now=now)
        return Done({"id": made.id}, f"product:{made.id}", _audited(request))

    done = perform(engine, actor, "product.add", request, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def change(
    engine: Engine,
    actor: User,
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    input: Mapping[str, Any] | None = None,
    reset_input: bool = False,
    key: str,
    now: datetime,
) -> Product:
    """Changes what is given (not None), from the next training and certificate on.

    Args:
        engine: the database.
        actor: an engineer or higher.
        name: the product's.
        teacher: its frozen encoder.
        review_rate: of its next certificate.
        input: what changes of its own input; the rest of that stays.
        reset_input: take the configured input again, before `input` changes it.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the rate or the input cannot be used.
        NotFound: there is no such product.
    """
    given: dict[str, Any] = {"teacher": teacher, "review_rate": review_rate}
    changes = {field: value for field, value in given.items() if value is not None}
    _check_rate(review_rate)
    own = _checked(input or {})

    def work(conn: Connection, _: User) -> Done:
        before = products.named(conn, name)
        to = dict(changes)
        if own or reset_input:
            to["input"] = {**({} if reset_input else before.input or {}), **own} or None
        products.change(conn, before.id, **to)
        was = {field: getattr(before, field) for field in to}
        return Done({"id": before.id}, f"product:{before.id}", {"from": _audited(was), "to": _audited(to)})

    request = {"name": name, **changes, "input": own, "reset_input": reset_input}
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
            raise Conflict("{name} is retired already", name=name)
        products.retire(conn, product.id, now)
        return Done({"id": product.id}, f"product:{product.id}", {"name": name})

    done = perform(engine, actor, "product.retire", {"name": name}, work, least="engineer", key=key, now=now)
    return _get(engine, done["id"])


def _get(engine: Engine, product_id: int) -> Product:
    with reading(engine) as conn:
        return products.get(conn, product_id)


def _checked(input: Mapping[str, Any]) -> dict[str, Any]:
    """The given keys as JSON has them; raises Invalid."""
    try:
        return _Own.model_validate(dict(input)).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(
            "the input's {key}: {problem}", key=".".join(map(str, first["loc"][:1])), problem=first["msg"]
        ) from None


def _audited(values: Mapping[str, Any]) -> dict[str, Any]:
    """For the audit trail, which keeps the hash of a mask."""
    mask = (values.get("input") or {}).get("ignore")
    if not mask:
        return dict(values)
    digest = f"sha256:{hashlib.sha256(mask.encode()).hexdigest()}"
    return {**values, "input": {**values["input"], "ignore": digest}}


def _check_rate(rate: float | None) -> None:
    if rate is not None and not 0 < rate < 1:
        raise Invalid("a review rate of {rate} is not between 0 and 1, such as 0.05", rate=rate)
