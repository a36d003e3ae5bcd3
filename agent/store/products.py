"""Products: what is made, one model each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.errors import NotFound
from agent.store.rows import KEEP, Keep, changed, columns, insert_new, one, read, read_all, update_one
from agent.store.tables import product


@dataclass(frozen=True, slots=True)
class Product:
    """`teacher` and `review_rate` are None where the configured ones hold.

    `input` holds what differs from the configured input: keys of `agent.settings.Input`, and `ignore`, a PNG in base64
    whose white pixels are not inspected. None where nothing differs.
    """

    id: int
    name: str
    teacher: str | None
    review_rate: float | None
    input: Mapping[str, Any] | None
    created_at: datetime
    retired_at: datetime | None


def add(
    conn: Connection,
    name: str,
    *,
    teacher: str | None = None,
    review_rate: float | None = None,
    input: Mapping[str, Any] | None = None,
    now: datetime,
) -> Product:
    """Registers a product.

    Raises:
        Conflict: the name is taken.
    """
    given = {"name": name, "teacher": teacher, "review_rate": review_rate, "input": input}
    return get(conn, insert_new(conn, product, "product", **given, created_at=now))


def find(conn: Connection, name: str) -> Product | None:
    """The product of that name, retired or not."""
    found = conn.execute(sa.select(*columns(product, Product)).where(product.c.name == name)).one_or_none()
    return read(Product, found) if found else None


def named(conn: Connection, name: str) -> Product:
    """As `find`.

    Raises:
        NotFound: there is none.
    """
    found = find(conn, name)
    if found is None:
        raise NotFound("there is no product {name!r}; see: goodpart products list", name=name)
    return found


def get(conn: Connection, product_id: int) -> Product:
    """The product of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Product, product, product_id)


def all(conn: Connection, *, retired: bool = False) -> list[Product]:
    """Products by name, with the retired ones if asked."""
    query = sa.select(*columns(product, Product)).order_by(product.c.name)
    return read_all(Product, conn.execute(query if retired else query.where(product.c.retired_at.is_(None))))


def change(
    conn: Connection,
    product_id: int,
    *,
    teacher: str | Keep | None = KEEP,
    review_rate: float | Keep | None = KEEP,
    input: Mapping[str, Any] | Keep | None = KEEP,
) -> None:
    """Changes what is given, `input` as a whole; None means the configured value.

    Raises:
        NotFound: there is no product of that id.
    """
    update_one(conn, product, product_id, **changed(teacher=teacher, review_rate=review_rate, input=input))


def retire(conn: Connection, product_id: int, now: datetime) -> None:
    """Marks a product as no longer made; its frames become `bad_header` and its history stays.

    Raises:
        NotFound: there is no product of that id.
    """
    update_one(conn, product, product_id, retired_at=now)
