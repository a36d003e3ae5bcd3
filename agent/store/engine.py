"""The database: opening it, and the two kinds of transactions.

SQLite is for one host. Its writers begin with `BEGIN IMMEDIATE`: a deferred transaction that reads and then writes
loses to a concurrent one, or fails half-way. The begin is ours: Python's sqlite3 would begin before the first write.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry

from agent.phrases import Phrase
from agent.store.errors import Conflict, DatabaseBehind, Fenced, NotFound, StoreError, Unreachable
from agent.store.migrate import READ, check_revision, check_writer, downgrade, revision, shown, upgrade

__all__ = [
    "Conflict",
    "DatabaseBehind",
    "Fenced",
    "NotFound",
    "StoreError",
    "Unreachable",
    "check_revision",
    "downgrade",
    "open_engine",
    "reading",
    "revision",
    "upgrade",
    "writing",
]

BUSY_TIMEOUT_S = 10
TOO_LARGE = Phrase("a number is beyond what the database can hold; give a smaller one")
# Of PostgreSQL, and no OperationalErrors: it gave up a transaction that stood still, or is a standby by now.
GONE = ("IdleInTransactionSessionTimeout", "TransactionTimeout", "ReadOnlySqlTransaction")
POSTGRESQL_OPTIONS = "-c lock_timeout=2000 -c idle_in_transaction_session_timeout=5000"
# A host that lost its power or its cable answers nothing at all: without these TCP waits for minutes to hours, and what
# waits with it looks dead before anybody knows of an outage. Seconds, but the last: milliseconds.
POSTGRESQL_SILENCE = {
    "connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}  # fmt: skip


def open_engine(url: str) -> Engine:
    """Opens the database; an SQLite file is made by `upgrade`, not here.

    Args:
        url: SQLAlchemy URL; `sqlite:///FILE` or `postgresql+psycopg://...`.

    Raises:
        StoreError: the URL cannot be used.
        Unreachable: nobody answers there.
    """
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = _sqlite(parsed) if is_sqlite else _postgresql(parsed)
    if is_sqlite and not Path(parsed.database or "").exists():
        return engine
    try:
        with reading(engine) as conn:
            conn.execute(sa.text(f"SELECT count(*) FROM {'sqlite_master' if is_sqlite else 'pg_namespace'}"))
    except StoreError:
        engine.dispose()
        raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed at the end, rolled back by an exception.

    On SQLite writers take turns. On PostgreSQL they run beside each other, READ COMMITTED: lock what is read in order
    to be written (`with_for_update`, `rows.serialise`), or let one statement do both.

    Raises:
        Unreachable: the database does not answer or stays locked; nothing was written, except where the answer to the
            commit itself was lost.
        DatabaseBehind: the database was moved to another revision, such as by an upgrade under this process; nothing
            was written.
        StoreError: a number is larger than the database can hold.
    """
    with _translated(engine), engine.begin() as conn:
        check_writer(conn)
        yield conn


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database and cannot write.

    Raises:
        Unreachable, StoreError: as `writing`.
        DatabaseBehind: a table or column is missing.
    """
    with _translated(engine), engine.connect() as plain:
        conn = plain.execution_options(**{READ: True})
        if conn.dialect.name == "postgresql":
            # Its default would show each statement another state.
            conn = conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        conn.begin()
        try:
            yield conn
        finally:
            conn.rollback()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend, driver = parsed.get_backend_name(), parsed.get_driver_name()
    except (ArgumentError, ValueError):
        raise StoreError("database.url: cannot be read as an SQLAlchemy URL such as sqlite:///goodpart.db") from None
    except sa.exc.NoSuchModuleError:
        backend, driver = parsed.drivername, ""
    if (backend, driver) not in {("sqlite", "pysqlite"), ("postgresql", "psycopg")}:
        raise StoreError(
            "database.url: {driver} is not supported; sqlite:///FILE or postgresql+psycopg://... is",
            driver=parsed.drivername,
        )
    if backend == "sqlite" and (parsed.database or ":memory:") in (":memory:", ""):
        raise StoreError("database.url: an in-memory database would lose every decision; sqlite:///FILE is allowed")
    if backend == "sqlite" and parsed.query:
        raise StoreError("database.url: options after '?' are not allowed for SQLite")
    return parsed


def _sqlite(url: URL) -> Engine:
    file = Path(url.database or "")
    if not file.parent.is_dir():
        raise Unreachable(
            "database.url: the folder {folder} does not exist; make it or change database.url", folder=file.parent
        )
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise Unreachable("database.url: {file} cannot be written; change its permissions or database.url", file=file)
    # A reader that holds a connection must never keep a writer of another thread waiting for one.
    engine = sa.create_engine(
        url, pool_size=16, max_overflow=32, pool_timeout=BUSY_TIMEOUT_S, connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )  # fmt: skip
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}").close()


def _begin_sqlite(conn: Connection) -> None:
    is_read = bool(conn.get_execution_options().get(READ))
    if conn.info.get(READ) != is_read:  # as its last transaction left it
        conn.exec_driver_sql(f"PRAGMA query_only = {'ON' if is_read else 'OFF'}")
        conn.info[READ] = is_read
    conn.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")


def _postgresql(url: URL) -> Engine:
    given = {name: value for name, value in POSTGRESQL_SILENCE.items() if name not in url.query}
    try:
        return sa.create_engine(
            url, pool_size=16, max_overflow=32, pool_pre_ping=True,
            connect_args={"options": POSTGRESQL_OPTIONS, **given}, hide_parameters=True,
        )  # fmt: skip
    except ModuleNotFoundError:
        raise StoreError("database.url: PostgreSQL needs its driver; run: pip install 'psycopg[binary]'") from None


@contextmanager
def _translated(engine: Engine) -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise Unreachable(
            "{database}: no free connection for {seconds} s",
            database=shown(engine),
            seconds=BUSY_TIMEOUT_S,
        ) from error
    except OverflowError as error:
        if not str(error).startswith("Python int too large"):
            raise  # nobody's number for a row
        raise StoreError(TOO_LARGE) from error
    except IntegrityError:
        raise
    except (OperationalError, InterfaceError) as error:
        problem = _first_line(error)
        if problem.startswith(("no such table", "no such column")) or "has no column named" in problem:
            raise DatabaseBehind(
                "{database}: {problem}; run: goodpart db upgrade", database=shown(engine), problem=problem
            ) from error
        raise Unreachable(
            "{database} cannot be used: {problem}; check database.url", database=shown(engine), problem=problem
        ) from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise StoreError(
                "{database} is not an SQLite database; move it away or change database.url", database=shown(engine)
            ) from error
        if type(error.orig).__name__ in ("UndefinedTable", "UndefinedColumn"):
            raise DatabaseBehind(
                "{database}: {problem}; run: goodpart db upgrade", database=shown(engine), problem=_first_line(error)
            ) from error
        if type(error.orig).__name__ == "NumericValueOutOfRange":
            raise StoreError(TOO_LARGE) from error
        if error.connection_invalidated or type(error.orig).__name__ in GONE:
            raise Unreachable(
                "{database} cannot be used: {problem}; check database.url",
                database=shown(engine),
                problem=_first_line(error),
            ) from error
        raise


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["no reason given"])[0]
