from __future__ import annotations

import inspect
import socket
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from agent.health import Health
from agent.store import engine as engine_module
from agent.store.engine import (
    POSTGRESQL_SILENCE,
    DatabaseBehind,
    StoreError,
    Unreachable,
    open_engine,
    reading,
    writing,
)
from agent.store.tables import lease, product
from tests import databases
from tests.databases import NOW, database
from tests.postgresql import PostgreSQL
from tests.streams import until


@pytest.mark.parametrize(
    "url",
    ["nonsense", "mysql://u:secret@h/d", "postgresql+asyncpg://u:secret@h/d", "sqlite://", "sqlite:///:memory:",
     "oracle+nope://u:secret@h/d", "sqlite:///x.db?mode=memory"],
)  # fmt: skip
def test_an_url_that_cannot_be_used_says_what_can(url: str) -> None:
    with pytest.raises(StoreError, match=r"database.url.*(sqlite:///|allowed)") as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("psycopg")

    monkeypatch.setattr(sa, "create_engine", missing)
    with pytest.raises(StoreError, match="pip install"):
        open_engine("postgresql+psycopg://u:secret@127.0.0.1:1/d")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="does not exist"):
        open_engine(f"sqlite:///{tmp_path}/none/x.db")
    with pytest.raises(Unreachable, match="cannot be written"):
        open_engine(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_bytes(b"something else" * 100)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        open_engine(f"sqlite:///{file}")
    assert file.read_bytes() == b"something else" * 100


def test_the_pragmas(tmp_path: Path) -> None:
    with database(tmp_path) as engine, reading(engine) as conn:
        found = {p: conn.exec_driver_sql(f"PRAGMA {p}").scalar_one() for p in ("journal_mode", "synchronous")}
        assert found == {"journal_mode": "wal", "synchronous": 2}
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert conn.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000


def test_an_exception_rolls_back_and_foreign_keys_hold(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with pytest.raises(IntegrityError), writing(engine) as conn:
            conn.execute(sa.insert(product).values(name="a", created_at=NOW))
            conn.execute(sa.text("INSERT INTO claim VALUES (1, 1, '2026-01-01')"))
        with reading(engine) as conn:
            assert conn.execute(sa.select(product)).all() == []


def test_an_error_never_repeats_what_was_given(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with pytest.raises(IntegrityError) as caught, writing(engine) as conn:
            conn.execute(sa.insert(product).values(name="told nobody"))
        assert "INSERT" in str(caught.value) and "told nobody" not in str(caught.value)


def test_a_read_transaction_cannot_write_and_sees_one_state(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with reading(engine) as reader:
            assert reader.execute(sa.select(product)).all() == []
            with writing(engine) as conn:
                conn.execute(sa.insert(product).values(name="a", created_at=NOW))
            assert reader.execute(sa.select(product)).all() == []
        with pytest.raises(StoreError, match="readonly"), reading(engine) as reader:
            reader.execute(sa.insert(product).values(name="b", created_at=NOW))
        with writing(engine) as conn:
            conn.execute(sa.insert(product).values(name="b", created_at=NOW))


def test_a_missing_table_is_a_database_that_is_behind(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(DatabaseBehind, match="goodpart db upgrade"), reading(engine) as conn:
        conn.execute(sa.select(product))
    engine.dispose()


def test_a_lock_held_too_long_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_S", 0)
    with database(tmp_path) as engine, writing(engine):
        other = open_engine(str(engine.url))
        with pytest.raises(Unreachable, match="locked"), writing(other):
            pass
        other.dispose()


def test_concurrent_read_then_write_loses_no_update(tmp_path: Path) -> None:
    """What a deferred BEGIN would lose: both read, then both write what they read plus one."""
    with database(tmp_path) as engine:
        with writing(engine) as conn:
            conn.execute(sa.insert(lease).values(name="n", holder="", token=0, expires_at=NOW))

        def add() -> None:
            for _ in range(20):
                with writing(engine) as conn:
                    token = conn.execute(sa.select(lease.c.token)).scalar_one()
                    conn.execute(sa.update(lease).values(token=token + 1))

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with reading(engine) as conn:
            assert conn.execute(sa.select(lease.c.token)).scalar_one() == 80


@pytest.mark.promise(2)
def test_on_postgresql_no_claim_waits_long_and_none_is_kept_by_the_dead(postgresql_server: PostgreSQL) -> None:
    engine = open_engine(postgresql_server.url())
    with reading(engine) as conn:
        found = [
            conn.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("lock_timeout", "idle_in_transaction_session_timeout")
        ]
    engine.dispose()
    assert found == ["2s", "5s"]


@pytest.mark.promise(7, 8)
def test_a_postgresql_that_answers_nothing_is_an_outage_before_its_agent_looks_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No packet of a host that lost its cable says so: libpq has to give up, and sooner than the agent's own watch."""
    given, patience = dict(POSTGRESQL_SILENCE), inspect.signature(Health.tick).parameters["within_s"].default
    heard = given["keepalives_idle"] + given["keepalives_interval"] * given["keepalives_count"]
    assert max(given["connect_timeout"], heard, given["tcp_user_timeout"] / 1000) < patience / 2
    monkeypatch.setitem(POSTGRESQL_SILENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match="timeout expired"):
            open_engine(f"postgresql+psycopg://u@{place}/d")


@pytest.mark.promise(7, 8)
def test_postgresql_is_asked_to_give_up_on_silence(postgresql_server: PostgreSQL) -> None:
    engine = open_engine(f"{postgresql_server.url()}?keepalives_idle=7")
    with reading(engine) as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        found = driver.info.get_parameters()
    engine.dispose()
    wanted = {name: str(value) for name, value in POSTGRESQL_SILENCE.items()} | {"keepalives_idle": "7"}
    del wanted["connect_timeout"]  # psycopg's own, which tells libpq nothing of it
    assert found.items() >= wanted.items()


@pytest.mark.promise(8)
def test_what_postgresql_gives_up_is_an_outage(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    with databases.on(postgresql_server), database(tmp_path) as engine:
        with pytest.raises(Unreachable, match="idle-in-transaction"), writing(engine) as conn:
            conn.exec_driver_sql("SET idle_in_transaction_session_timeout = 50")
            own = conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            until(lambda: own not in _backends(engine))  # as where the process is stopped meanwhile
            conn.execute(sa.select(product))
        with pytest.raises(Unreachable, match="read-only transaction"), writing(engine) as conn:
            conn.exec_driver_sql("SET TRANSACTION READ ONLY")  # as on what has become a standby
            conn.execute(sa.insert(product).values(name="a", created_at=NOW))
        with writing(engine) as conn:
            conn.execute(sa.insert(product).values(name="a", created_at=NOW))


def _backends(engine: Engine) -> set[int]:
    with reading(engine) as conn:
        return set(conn.exec_driver_sql("SELECT pid FROM pg_stat_activity").scalars())


@pytest.mark.usefixtures("each_database")
def test_a_number_that_no_row_can_hold_is_told_so(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with pytest.raises(StoreError, match="beyond what the database can hold"), writing(engine) as conn:
            conn.execute(sa.insert(product).values(id=10**20, name="x", created_at=NOW))
        with pytest.raises(OverflowError, match="of its own"), reading(engine):
            raise OverflowError("of its own")
