from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from agent.hot_window import make_partitions
from agent.settings import utc_now
from agent.store import epochs, inspections, normals, partitions, products, samples, snapshots
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
from tests.databases import NOW, add_blob, database, empty_url, line

both = pytest.mark.usefixtures("each_database")
REVISIONS = ["base", *(f"{number:04}" for number in range(1, 34))]
# Below these, columns do not only go: indexes and rows change, a table takes another's place, a column moves.
SAME = ("0004", "0007", "0009", "0015", "0017", "0018", "0019", "0020", "0021", "0032")
PARTITIONS = re.compile("inspection_(default|before_y|y).*")  # of a table, and no tables of their own


def _tables(engine: Engine) -> set[str]:
    found = set(sa.inspect(engine).get_table_names()) - {"alembic_version"}
    return {name for name in found if not PARTITIONS.fullmatch(name)}


def _columns(engine: Engine) -> set[tuple[str, str]]:
    found = sa.inspect(engine)
    return {(table, column["name"]) for table in _tables(engine) for column in found.get_columns(table)}


def _is_ours(name: str | None, kind: str, parents: object) -> bool:
    return kind != "table" or not PARTITIONS.fullmatch(name or "")


@both
def test_the_migrated_schema_is_that_of_the_tables(tmp_path: Path) -> None:
    with database(tmp_path) as engine, reading(engine) as conn:
        opts = {"compare_type": True, "compare_server_default": True, "include_name": _is_ours}
        context = MigrationContext.configure(conn, opts=opts)
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
        assert _partitions(engine) == _partitions(created)
    created.dispose()


def _partitions(engine: Engine) -> set[tuple[str, str, str]]:
    """How tables are partitioned, and which partitions they have."""
    if engine.dialect.name != "postgresql":
        return set()
    query = """
        SELECT p.relname, pg_get_partkeydef(p.oid), c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid)
        FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
        WHERE p.relkind = 'p'
    """
    with engine.connect() as conn:
        found = {(table, key, partition) for table, key, partition in conn.execute(sa.text(query))}
    assert found == {("inspection", "RANGE (event_at)", "inspection_default DEFAULT")}
    return found


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
        assert _columns(engine) < before or target in SAME
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
def test_inspections_survive_being_partitioned_and_made_plain_again(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        today = utc_now()
        days = [today + timedelta(days=n) for n in (-400, -1, 0, 2, 3)]
        rows = [here.inspection(n, event_at=day, score=n / 10) for n, day in enumerate(days)]
        downgrade(here.engine, "0004")
        with here.engine.begin() as conn:
            inspections.add_all(conn, rows[:-1])
        upgrade(here.engine)
        with reading(here.engine) as conn:
            assert inspections.recent(conn) == rows[-2::-1]
        if here.engine.dialect.name == "postgresql":
            make_partitions(here.engine, today)
            with reading(here.engine) as conn:
                held = partitions.all(conn)
            assert [(one.first is None, (one.end - days[2].date()).days) for one in held] == [
                (True, 1), (False, 2), (False, 3), (False, 4),
            ]  # fmt: skip
        with writing(here.engine) as conn:
            inspections.add_all(conn, rows[-1:])
        for _ in range(2):
            downgrade(here.engine, "0004")
            with reading(here.engine) as conn:
                assert inspections.recent(conn) == rows[::-1]
                assert partitions.all(conn) == []
            with pytest.raises(IntegrityError), here.engine.begin() as conn:
                inspections.add_all(conn, rows[:1])
            with pytest.raises(IntegrityError), here.engine.begin() as conn:
                inspections.add_all(conn, [here.inspection(9, station_id=99)])
            upgrade(here.engine)
            with reading(here.engine) as conn:
                assert inspections.recent(conn) == rows[::-1]


@both
def test_only_imported_samples_calibrate_at_once_when_epochs_come(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        downgrade(here.engine, "0005")
        rows = [("calibration", "import"), ("holdout", "import"), ("calibration", "audit"), ("train", "flagged")]
        columns = "product_id, role, origin, blob_sha256, pixels_sha256, created_at"
        with here.engine.begin() as conn:
            for number, (role, origin) in enumerate(rows):
                blob = add_blob(conn, number)
                values = {"p": here.product_id, "r": role, "o": origin, "b": blob, "at": NOW.replace(tzinfo=None)}
                conn.execute(sa.text(f"INSERT INTO sample ({columns}) VALUES (:p, :r, :o, :b, :b, :at)"), values)
        upgrade(here.engine)
        with reading(here.engine) as conn:
            (epoch,) = epochs.of_product(conn, here.product_id)
            found = {(one.role, one.origin): one.epoch_id for one in samples.all(conn, here.product_id)}
        assert (epoch.cause, epoch.cuts) == ("import", False)
        # The others wait until every drawn part of their window is decided.
        assert found == dict(zip(rows, [epoch.id, epoch.id, None, None], strict=True))


@both
def test_samples_of_the_stream_get_their_station_and_lot(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            item = here.add_item(conn, 1, lot="L7")
            for number, item_id in ((11, item.id), (12, None)):
                blob = add_blob(conn, number)
                new = samples.NewSample(here.product_id, "train", "flagged", blob, blob, item_id=item_id)
                samples.add(conn, new, NOW)
        downgrade(here.engine, "0006")
        upgrade(here.engine)
        with reading(here.engine) as conn:
            found = {one.item_id: (one.station_id, one.lot) for one in samples.all(conn, here.product_id)}
        assert found == {item.id: (here.station_id, "L7"), None: (None, None)}


@both
def test_snapshots_of_before_are_frozen_as_their_samples_are(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            epoch = epochs.of_import(conn, here.product_id, NOW).id
            for number, role in enumerate(("calibration", "train")):
                blob, one = add_blob(conn, number), epoch if role == "calibration" else None
                new = samples.NewSample(here.product_id, role, "audit", blob, blob, serial=f"s{number}", epoch_id=one)
                samples.add(conn, replace(new, station_id=here.station_id, lot="L7"), NOW)
            before = snapshots.freeze(conn, here.product_id, NOW, epoch_id=epoch)
        downgrade(here.engine, "0031")
        upgrade(here.engine)
        with writing(here.engine) as conn:
            samples.revoke(conn, before.samples[0].id, NOW)
            assert [replace(one, revoked_at=None) for one in snapshots.get(conn, before.id).samples] == list(
                before.samples
            )


@both
def test_thumbnails_move_from_vectors_to_samples_and_back(tmp_path: Path) -> None:
    def vectors(conn: Connection) -> dict[int, str]:
        return {one.sample_id: one.thumbnail_sha256 for one in conn.execute(sa.text("SELECT * FROM sample_vector"))}

    with line(tmp_path) as here:
        with writing(here.engine) as conn:
            small = add_blob(conn, 10)
            with_one, without = (
                samples.add(
                    conn, samples.NewSample(here.product_id, "train", "import", blob, blob, thumbnail_sha256=one), NOW
                ).id
                for blob, one in ((add_blob(conn, 11), small), (add_blob(conn, 12), None))
            )
            normals.add_all(conn, dict.fromkeys((with_one, without), normals.SampleVector("5" * 64, b"\0\0")))
        downgrade(here.engine, "0020")
        with reading(here.engine) as conn:
            assert vectors(conn) == {with_one: small}
        upgrade(here.engine)
        with reading(here.engine) as conn:
            assert {one.id: one.thumbnail_sha256 for one in samples.all(conn, here.product_id)} == {
                with_one: small, without: None,
            }  # fmt: skip


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
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE item (id INTEGER)"))
    with pytest.raises(StoreError, match="already exists"):
        upgrade(engine)
    assert _tables(engine) == {"item"}
    assert revision(engine) is None
    if engine.dialect.name == "sqlite":
        with reading(engine) as conn:
            assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    engine.dispose()
