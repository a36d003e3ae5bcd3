"""Rows to frozen dataclasses and back, and the inserts that SQLite and PostgreSQL both know."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache, lru_cache
from itertools import chain, count, islice, repeat
from operator import attrgetter
from typing import Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Connection, Row, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from agent.phrases import word
from agent.store.errors import Conflict, NotFound

T = TypeVar("T")


class Keep(enum.Enum):
    """Marks a column that a change leaves as it is, where None is a value of its own."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


_NAMES: dict[type[Any], tuple[str, ...]] = {}


def names(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a dataclass, in order."""
    if kind not in _NAMES:
        _NAMES[kind] = tuple(field.name for field in fields(kind))
    return _NAMES[kind]


def columns(table: Table, kind: type[Any]) -> list[sa.Column[Any]]:
    """The columns of `table` that the fields of `kind` name."""
    return [table.c[name] for name in names(kind)]


def read(kind: type[T], row: Row[*tuple[Any, ...]]) -> T:
    """A dataclass from a row that has a column for each field."""
    return kind(**row._mapping)


def read_all(kind: type[T], rows: Iterable[Row[*tuple[Any, ...]]]) -> list[T]:
    """As `read`, for each row."""
    return [kind(**row._mapping) for row in rows]


def values(one: Any) -> dict[str, Any]:
    """The fields of a dataclass as a dict. Shallow, hence fast: `asdict` copies deeply."""
    return {name: getattr(one, name) for name in names(type(one))}


def listed(kind: type[T]) -> Callable[[T], tuple[Any, ...]]:
    """What gives the fields of a dataclass, two or more, as a tuple."""
    return attrgetter(*names(kind))


def added(one: T, other: T) -> T:
    """A dataclass of numbers whose fields are the sums of both."""
    return type(one)(*(getattr(one, name) + getattr(other, name) for name in names(type(one))))


def changed(**given: Any) -> dict[str, Any]:
    """The given columns without those to keep."""
    return {name: value for name, value in given.items() if value is not KEEP}


def insert(conn: Connection, table: Table) -> sqlite.Insert:
    """An INSERT with ON CONFLICT clauses in the connection's dialect.

    Both dialects' inserts have the same methods; the type says SQLite's for both.
    """
    return _insert(conn.dialect.name, table)


def _insert(dialect: str, table: Table) -> sqlite.Insert:
    if dialect == "postgresql":
        return cast(sqlite.Insert, postgresql.insert(table))
    return sqlite.insert(table)


def insert_new(conn: Connection, table: Table, what: str, **row: Any) -> int:
    """Inserts a row of a unique `name` and returns its id.

    Raises:
        Conflict: the name is taken.
    """
    statement = insert(conn, table).values(**row).on_conflict_do_nothing(index_elements=["name"]).returning(table.c.id)
    made = conn.execute(statement).scalar_one_or_none()
    if made is None:
        raise Conflict(
            "there is already a {what} named {name!r}: choose another name", what=word(what), name=row["name"]
        )
    return int(made)


def one(conn: Connection, kind: type[T], table: Table, row_id: int) -> T:
    """The row of that id.

    Raises:
        NotFound: there is none.
    """
    found = conn.execute(sa.select(*columns(table, kind)).where(table.c.id == row_id)).one_or_none()
    if found is None:
        raise missing(table, row_id)
    return read(kind, found)


def missing(table: Table, row_id: int) -> NotFound:
    """Says that there is no such row."""
    return NotFound("there is no {what} {row_id}", what=word(table.name), row_id=row_id)


def update_one(conn: Connection, table: Table, row_id: int, **changes: Any) -> None:
    """Changes the row of that id.

    Raises:
        NotFound: there is none.
    """
    if changes and conn.execute(sa.update(table).where(table.c.id == row_id).values(**changes)).rowcount != 1:
        raise missing(table, row_id)


def insert_sums(conn: Connection, table: Table, key: tuple[str, ...], sums: tuple[str, ...]) -> sqlite.Insert:
    """An INSERT that adds its `sums` to those of the row of the same `key`, where there is one."""
    return _insert_sums(conn.dialect.name, table, key, sums)


@cache  # building one takes longer than running it
def _insert_sums(dialect: str, table: Table, key: tuple[str, ...], sums: tuple[str, ...]) -> sqlite.Insert:
    statement = _insert(dialect, table)
    added = {name: table.c[name] + statement.excluded[name] for name in sums}
    return statement.on_conflict_do_update(index_elements=list(key), set_=added)


def delete_oldest(
    conn: Connection, column: sa.Column[Any], before: Any, limit: int, *only: sa.ColumnElement[bool]
) -> int:
    """Deletes the oldest rows, at most `limit`, whose `column` lies before `before`; returns how many.

    `only`: further conditions that these rows fulfil.

    With an index that begins with the column, what it costs depends on `limit` alone.
    """
    table = column.table
    order = [column, *(key for key in table.primary_key if key is not column)]
    query = sa.select(*order).where(column < before, *only).order_by(*order).offset(limit - 1).limit(1)
    last = conn.execute(query).one_or_none()
    if last is None:
        return conn.execute(sa.delete(table).where(column < before, *only)).rowcount
    bound = sa.tuple_(*(sa.literal(value, one.type) for value, one in zip(last, order, strict=True)))
    # In this order: SQLite ends its range at the first condition. PostgreSQL picks partitions by the second one.
    return conn.execute(sa.delete(table).where(sa.tuple_(*order) <= bound, column <= last[0], *only)).rowcount


def insert_rows(
    conn: Connection,
    table: Table,
    columns: tuple[str, ...],
    rows: Iterable[Sequence[Any]],
    conflict: str = "",
    **given: Any,
) -> int:
    """Inserts rows of plain values, many with one statement; returns how many were inserted or updated.

    `executemany` gives up Python's lock at every row, and waits each time for the thread that took it.

    Args:
        conn: a writing transaction.
        table: where to. Defaults made in Python are not.
        columns: what a row's values are, in this order.
        rows: their values, as the columns' types take them.
        conflict: an ON CONFLICT clause, in SQL that both databases know; `{name}` stands for a value of `given`.
        given: by the column whose type they have, in the order in which `conflict` names them.
    """
    makers = _makers(conn.dialect, table, columns)
    asked = zip(_makers(conn.dialect, table, tuple(given)), given.values(), strict=True)
    more = [value if make is None else make(value) for make, value in asked]
    written = 0
    for part in _halving(rows, _MOST_VALUES // len(columns)):
        by_column = (
            column if make is None else map(make, column)
            for make, column in zip(makers, zip(*part, strict=True), strict=True)
        )
        values = tuple(chain.from_iterable(zip(*by_column, strict=True)))
        text = _insert_text(conn.dialect, table, columns, len(part), conflict, tuple(given))
        with _unparsed(conn):
            written += conn.exec_driver_sql(text, (*values, *more)).rowcount
    return written


@contextmanager
def _unparsed(conn: Connection) -> Iterator[None]:
    """Inside, psycopg takes statements as they are. It looks for `%s` in Python, which for many rows costs most."""
    if conn.dialect.name != "postgresql":
        yield
        return
    driver: Any = conn.connection.driver_connection
    usual, driver.cursor_factory = driver.cursor_factory, conn.dialect.dbapi.RawCursor  # type: ignore[union-attr]
    try:
        yield
    finally:
        driver.cursor_factory = usual


_MOST_VALUES = 32_000  # SQLite takes 32,766 in one statement, PostgreSQL 65,535


def _halving(rows: Iterable[T], most: int) -> Iterator[Sequence[T]]:
    """In parts of 1, 2, 4, ... rows, the large ones first.

    Each connection keeps its last statements ready; of every number of rows, SQLite's would take tens of megabytes.
    """
    for part in chunks(rows, most):
        begin = 0
        while left := len(part) - begin:
            end = begin + (1 << left.bit_length() - 1)
            yield part[begin:end]
            begin = end


@lru_cache(128)  # three tables, and up to 1024 rows
def _insert_text(
    dialect: Dialect, table: Table, columns: tuple[str, ...], rows: int, conflict: str, given: tuple[str, ...]
) -> str:
    quote = dialect.identifier_preparer.quote
    marks = repeat("?") if dialect.name == "sqlite" else map("${}".format, count(1))
    values = ", ".join(f"({', '.join(islice(marks, len(columns)))})" for _ in range(rows))
    clause = conflict.format_map(dict(zip(given, marks, strict=False)))
    return f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, columns))}) VALUES {values} {clause}"


@lru_cache(16)
def _makers(dialect: Dialect, table: Table, columns: tuple[str, ...]) -> list[Callable[[Any], Any] | None]:
    """What turns each column's Python values into the driver's; None: nothing has to."""
    return [table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in columns]


def chunks(things: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Lists of at most `size` of them."""
    rest = iter(things)
    while part := list(islice(rest, size)):
        yield part


def serialise(conn: Connection, lock: int) -> None:
    """Waits until no other transaction holds `lock`; SQLite's writers are alone anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
