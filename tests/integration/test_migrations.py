from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from agent.store import products
from agent.store.engine import (
    DatabaseBehind,
    StoreError,
    check_revision,
    downgrade,
    open_engine,
    reading,
    revision,
    upgrade,
    writing,
)
from agent.store.install import install_of
from agent.store.migrate import head
from agent.store.tables import metadata
from tests.databases import database, empty_url, line

both = pytest.mark.usefixtures("each_database")
REVISIONS = ["base", "0001", "0002", "0003", "0004"]


def _tables(engine: Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names()) - {"alembic_version"}


def _columns(engine: Engine) -> set[tuple[str, str]]:
    found = sa.inspect(engine)
    return {(table, column["name"]) for table in _tables(engine) for column in found.get_columns(table)}


@both
def test_the_migrated_schema_is_that_of_the_tables(tmp_path: Path) -> None:
    with database(tmp_path) as engine, reading(engine) as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


@both
def test_what_autogenerate_does_not_see_is_the_same_too(tmp_path: Path) -> None:
    created = open_engine(empty_url(tmp_path, "created"))
    metadata.create_all(created)
    with database(tmp_path) as engine:
        wanted, found = sa.inspect(created), sa.inspect(engine)
        for table in metadata.tables:
            assert found.get_pk_constraint(table) == wanted.get_pk_constraint(table)
            checks = [{one["name"]: one["sqltext"] for one in i.get_check_constraints(table)} for i in (wanted, found)]
            assert checks[0] == checks[1]
        assert _index_sql(engine) == _index_sql(created)
    created.dispose()


def _index_sql(engine: Engine) -> set[str]:
    query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    if engine.dialect.name == "postgresql":
        query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    with engine.connect() as conn:
        return set(conn.execute(sa.text(query)).scalars())


@both
def test_every_step_up_and_down(tmp_path: Path) -> None:
    engine = open_engine(empty_url(tmp_path))
    upgrade(engine)
    assert _tables(engine) == set(metadata.tables)
    before = full = _columns(engine)
    assert head() == REVISIONS[-1]
    for target in REVISIONS[-2::-1]:
        downgrade(engine, target)
        assert _columns(engine) < before
        before = _columns(engine)
        with pytest.raises(DatabaseBehind, match="goodpart db upgrade"):
            check_revision(engine)
    assert revision(engine) is None
    assert _tables(engine) == set()
    upgrade(engine)
    assert _columns(engine) == full
    engine.dispose()


@both
def test_products_keep_all_else_when_their_input_comes_and_goes(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            products.change(conn, here.product_id, review_rate=0.02, input={"fit": "letterbox"})
        downgrade(here.engine, "0002")
        assert ("product", "input") not in _columns(here.engine)
        upgrade(here.engine)
        with reading(here.engine) as conn:
            found = products.get(conn, here.product_id)
        assert (found.name, found.review_rate, found.input) == ("flange", 0.02, None)


@both
def test_upgrading_twice_keeps_the_installation_and_two_have_different_ones(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        engine = open_engine(empty_url(tmp_path, name))
        upgrade(engine)
        with reading(engine) as conn:
            found.append(install_of(conn))
        upgrade(engine)
        check_revision(engine)
        with reading(engine) as conn:
            assert install_of(conn) == found[-1]
        engine.dispose()
    assert found[0].install_id != found[1].install_id
    assert found[0].secret != found[1].secret
    assert len(found[0].secret) == 32
    assert "secret" not in repr(found[0])


def test_a_missing_database_is_behind_and_stays_missing(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    engine = open_engine(f"sqlite:///{file}")
    with pytest.raises(DatabaseBehind, match="no tables yet"):
        check_revision(engine)
    assert not file.exists()


@both
def test_a_newer_database_asks_for_a_newer_program(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with writing(engine) as conn:
            conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(DatabaseBehind, match="install a newer one"):
            check_revision(engine)
        with pytest.raises(StoreError, match="cannot be migrated"):
            upgrade(engine)


@both
def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    engine = open_engine(empty_url(tmp_path))
    with writing(engine) as conn:
        conn.execute(sa.text("CREATE TABLE item (id INTEGER)"))
    with pytest.raises(StoreError, match="already exists"):
        upgrade(engine)
    assert _tables(engine) == {"item"}
    assert revision(engine) is None
    if engine.dialect.name == "sqlite":
        with reading(engine) as conn:
            assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    engine.dispose()
