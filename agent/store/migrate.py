"""The schema's revision: reading it, and moving it by the scripts of the `migrations` package.

Alembic is driven from here, so it works without an ini file and from an installed package.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

import migrations
from agent.phrases import Phrase
from agent.store.errors import DatabaseBehind, StoreError, Unreachable

READ = "goodpart_read"  # execution option of a connection whose transactions do not write
UPGRADE_LOCK = 0x676F6F64  # "good"
REVISION = sa.text("SELECT version_num FROM alembic_version")


@cache
def head() -> str:
    """The revision that this program was written for."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        raise StoreError("the migrations are not installed; install goodpart again")
    return found


def revision(engine: Engine) -> str | None:
    """The database's revision; None where it has no tables yet.

    Raises:
        Unreachable: nobody answers.
    """
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        return None
    try:
        with engine.connect().execution_options(**{READ: True}) as conn:
            return MigrationContext.configure(conn).get_current_revision()
    except OperationalError as error:
        raise Unreachable(
            "{database} cannot be read: {problem}; check database.url", database=shown(engine), problem=error.orig
        ) from error


def check_revision(engine: Engine) -> None:
    """Checks that the database has exactly the schema that this program was written for.

    Raises:
        DatabaseBehind: it has another; the message says which, and what to do.
        Unreachable: nobody answers.
    """
    _check(engine, revision(engine))


def check_writer(conn: Connection) -> None:
    """Checks it where a transaction begins that writes; a migration and that transaction do not run at once then.

    On PostgreSQL this reads a table that a migration locks first: one waits for the other, and who waited for a
    migration sees its revision. On SQLite writers take turns.

    Raises:
        DatabaseBehind: as `check_revision`.
    """
    _check(conn.engine, conn.execute(REVISION).scalar())


def _check(engine: Engine, found: str | None) -> None:
    wanted = head()
    if found == wanted:
        return
    if found is not None and found not in {one.revision for one in _scripts()}:
        raise DatabaseBehind(
            "{database} is at revision {found}, which this goodpart does not know; install a newer one",
            database=shown(engine),
            found=found,
        )
    state = Phrase("is at revision {found}", found=found) if found else Phrase("has no tables yet")
    raise DatabaseBehind(
        "{database} {state} and {wanted} is needed; run: goodpart db upgrade",
        database=shown(engine),
        state=state,
        wanted=wanted,
    )


def upgrade(engine: Engine) -> None:
    """Moves the database to this program's revision in one transaction; makes it where there is none.

    Raises:
        Unreachable, StoreError: it could not be moved; it is as it was.
    """
    _move(engine, lambda config: command.upgrade(config, "head"))


def downgrade(engine: Engine, target: str) -> None:
    """Moves the database back to revision `target`; `base` drops everything.

    Raises:
        Unreachable, StoreError: it could not be moved; it is as it was.
    """
    _move(engine, lambda config: command.downgrade(config, target))


def _move(engine: Engine, step: Callable[[Config], None]) -> None:
    try:
        with _alone(engine) as conn:
            config = _config()
            config.attributes["connection"] = conn
            step(config)
    except CommandError as error:
        raise StoreError("{database} cannot be migrated: {problem}", database=shown(engine), problem=error) from error
    except OperationalError as error:
        raise Unreachable(
            "{database} cannot be migrated: {problem}; check database.url", database=shown(engine), problem=error.orig
        ) from error
    except DBAPIError as error:
        raise StoreError(
            "{database} cannot be migrated: {problem}", database=shown(engine), problem=error.orig
        ) from error


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction no other migration runs beside.

    On SQLite foreign keys are off meanwhile (rebuilding a table drops it) and checked before the commit.
    """
    with engine.connect() as conn:
        is_sqlite = conn.dialect.name == "sqlite"
        if is_sqlite:
            # Before the begin: inside a transaction the pragma does nothing.
            _pragma(conn, "foreign_keys = OFF")
        try:
            with conn.begin():
                if not is_sqlite:
                    _wait_for_writers(conn)
                yield conn
                if is_sqlite and (broken := conn.exec_driver_sql("PRAGMA foreign_key_check").first()):
                    raise StoreError(
                        "{database} cannot be migrated: {table} would lose {what}",
                        database=shown(engine),
                        table=broken[0],
                        what=broken[2],
                    )
        finally:
            if is_sqlite:
                _pragma(conn, "foreign_keys = ON")


def _wait_for_writers(conn: Connection) -> None:
    """Lets transactions that `check_writer` let write end, and the next ones wait for the new revision."""
    conn.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    if sa.inspect(conn).has_table("alembic_version"):
        conn.execute(sa.text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))


def _pragma(conn: Connection, words: str) -> None:
    driver = conn.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA {words}").close()


def _config() -> Config:
    config = Config(stdout=io.StringIO())
    folder = str(Path(str(migrations.__file__)).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _scripts() -> Iterator[Script]:
    yield from ScriptDirectory.from_config(_config()).walk_revisions()


def shown(engine: Engine) -> str:
    """The database as messages name it, without its password."""
    return f"the database {engine.url.render_as_string(hide_password=True)}"
