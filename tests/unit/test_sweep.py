"""No blob that a row names is ever deleted, and nothing else stays."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.store import blobs, sweep
from agent.store.blobs import keep_all
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.local_blobs import MemoryBlobs
from agent.store.references import NAMING, PAGE
from agent.store.sweep import Sweeper, Swept
from agent.store.tables import blob, dead_letter, item
from tests import databases
from tests.databases import NOW, Line, database, line, sha
from tests.postgresql import PostgreSQL

POINTS = ("sweep.marked", "sweep.deleted", "sweep.forgotten")
DAY = timedelta(hours=24, seconds=1)


class Crash(Exception):
    """The process ended here."""


class Plant:
    """A line, its blobs and the time."""

    def __init__(self, here: Line) -> None:
        self.line, self.engine, self.store, self.now = here, here.engine, MemoryBlobs(), NOW
        self.offset = 0

    def clock(self) -> datetime:
        return self.now

    def sweeper(self, **options: Any) -> Sweeper:
        return Sweeper(self.engine, self.store, clock=self.clock, **options)

    def keep(self, data: bytes) -> str:
        """As an agent does that meets blobs being deleted: the time passes, and somebody sweeps."""

        def wait(_: float) -> None:
            self.now += timedelta(seconds=30)
            self.sweeper().sweep()

        return keep_all(self.engine, self.store, [(data, "image/png")], self.now, sleep=wait)[0]

    def name(self, sha256: str, column: sa.Column[Any] = dead_letter.c.blob_sha256) -> None:
        """A row that names the blob: a dead letter, or an item by one of its columns."""
        self.offset += 1
        position = {"stream_id": self.line.stream_id, "partition": 0, "offset": self.offset}
        with writing(self.engine) as conn:
            if column.table is dead_letter:
                letter = {"reason": "bad_header", "detail": "", "headers": [], "value_sha256": sha256, "counted": True}
                conn.execute(
                    sa.insert(dead_letter).values(**position, **letter, **{column.name: sha256}, created_at=self.now)
                )
                return
            seen = {"event_at": self.now, "frame_id": "f", "kind": "flagged", "state": "open", "verdict": "review"}
            of = {"station_id": self.line.station_id, "product_id": self.line.product_id, "created_at": self.now}
            conn.execute(sa.insert(item).values(**position, **seen, **of, **{column.name: sha256}))

    def unname(self, sha256: str) -> None:
        """No row names the blob any more."""
        with writing(self.engine) as conn:
            for column in NAMING:
                if column.nullable:
                    conn.execute(sa.update(column.table).where(column == sha256).values({column.name: None}))

    def rows(self) -> dict[str, str]:
        """The state of each blob."""
        with reading(self.engine) as conn:
            return {row.sha256: row.state for row in conn.execute(sa.select(blob))}

    def names(self) -> set[str]:
        """The hashes that rows name."""
        with reading(self.engine) as conn:
            return {one for column in NAMING for one in conn.execute(sa.select(column)).scalars() if one}


@pytest.fixture
def plant(each_database: None, tmp_path: Path) -> Any:
    with line(tmp_path) as here:
        yield Plant(here)


@pytest.mark.usefixtures("each_database")
def test_every_foreign_key_to_a_blob_counts(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        found = sa.inspect(engine)
        keys = {
            (table, key["constrained_columns"][0])
            for table in found.get_table_names()
            for key in found.get_foreign_keys(table)
            if key["referred_table"] == "blob"
        }
    assert keys == {(column.table.name, column.name) for column in NAMING}
    assert len(keys) == len(NAMING) == 14
    assert all(column.index for column in NAMING), "deleting a row of blob looks into every one of them"


@pytest.mark.parametrize("seed", range(4))
def test_no_named_blob_is_lost_and_nothing_else_stays(plant: Plant, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    armed: list[str] = []
    crashes = 0

    def passing(name: str) -> None:
        if name in armed:
            raise Crash(name)

    monkeypatch.setattr(sweep, "passing", passing)
    columns = [column for column in NAMING if column.table in (item, dead_letter)]
    for _ in range(80):
        armed.clear()
        act = rng.choice(("keep", "keep", "name", "unname", "unname", "wait", "wait", "sweep", "sweep"))
        if act in ("keep", "name"):
            sha256 = plant.keep(b"%d" % rng.randrange(6))
            if act == "name":
                plant.name(sha256, rng.choice(columns))
        elif act == "unname" and plant.names():
            plant.unname(rng.choice(sorted(plant.names())))
        elif act == "wait":
            plant.now += timedelta(minutes=rng.choice((1, 3, 60, 1441)))
        elif act == "sweep":
            armed.extend(rng.sample(POINTS, rng.randint(0, 3)))
            try:
                plant.sweeper().sweep()
            except Crash:
                crashes += 1
        for sha256 in plant.names():
            assert plant.rows()[sha256] == "stored"
            assert plant.store.size(sha256) is not None
    armed.clear()
    for wait in (DAY, sweep.ABANDONED + timedelta(seconds=1)):
        plant.now += wait
        plant.sweeper().sweep()
    assert set(plant.rows()) == plant.names() == {one for one in map(sha, range(6)) if plant.store.size(one)}
    assert crashes


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_each_step_leaves_what_the_next_sweep_finishes(
    plant: Plant, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = plant.keep(b"1")
    plant.now += DAY

    def crash(name: str) -> None:
        if name == point:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(sweep, "passing", crash)
        with pytest.raises(Crash):
            plant.sweeper().sweep()
    assert plant.rows() == ({} if point == "sweep.forgotten" else {sha256: "deleting"})
    assert plant.store.size(sha256) == (1 if point == "sweep.marked" else None)
    assert plant.sweeper().sweep().deleted == 0, "a fresh mark is another's"
    plant.now += sweep.ABANDONED + timedelta(seconds=1)
    plant.sweeper().sweep()
    assert (plant.rows(), plant.store.size(sha256)) == ({}, None)


def test_a_blob_kept_while_it_is_deleted_is_there_at_the_end(plant: Plant) -> None:
    sha256 = plant.keep(b"1")
    plant.now += DAY
    marked, go_on = threading.Event(), threading.Event()
    delete = plant.store.delete

    def held(sha256: str) -> None:
        marked.set()
        assert go_on.wait(20)
        delete(sha256)

    plant.store.delete = held  # type: ignore[method-assign]
    sweeping = threading.Thread(target=plant.sweeper().sweep)
    sweeping.start()
    assert marked.wait(20)
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        go_on.set()
        sweeping.join(20)

    keep_all(plant.engine, plant.store, [(b"1", "image/png")], plant.now, sleep=wait)
    assert (plant.rows(), plant.store.get(sha256), len(waits)) == ({sha256: "stored"}, b"1", 1)


def test_a_blob_kept_or_named_after_the_look_is_not_marked(plant: Plant) -> None:
    kept, named, other = (plant.keep(data) for data in (b"1", b"2", b"3"))
    plant.now += DAY
    asked = 0

    def looked() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            plant.keep(b"1")
            plant.name(named)
        return False

    assert plant.sweeper(stopping=looked).sweep().deleted == 1
    assert plant.rows() == {kept: "stored", named: "stored"}
    assert plant.store.size(other) is None


def test_a_frozen_sweeper_deletes_nothing_that_was_kept_since(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "THREADS", 1)
    hashes = [plant.keep(data) for data in (b"1", b"2")]
    plant.now += DAY
    delete, frozen = plant.store.delete, plant.sweeper()

    def thaw(sha256: str) -> None:
        delete(sha256)
        plant.store.delete = delete  # type: ignore[method-assign]
        _meanwhile(plant)

    plant.store.delete = thaw  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="too long"):
        frozen.sweep()
    assert plant.rows() == dict.fromkeys(hashes, "stored")
    assert [plant.store.get(one) for one in hashes] == [b"1", b"2"]


def test_a_frozen_sweeper_forgets_no_row_that_was_marked_since(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = plant.keep(b"1")
    plant.now += DAY

    def passing(name: str) -> None:
        if name == "sweep.deleted":
            monkeypatch.setattr(sweep, "passing", lambda _: None)
            plant.now += sweep.ABANDONED + timedelta(seconds=1)
            with writing(plant.engine) as conn:
                assert sweep._mark(conn, [sha256], plant.now) == [sha256]

    monkeypatch.setattr(sweep, "passing", passing)
    assert plant.sweeper().sweep().deleted == 0
    assert plant.rows() == {sha256: "deleting"}


def _meanwhile(plant: Plant) -> None:
    """Another sweeper takes up what was begun, and somebody keeps the same bytes again."""
    plant.now += sweep.ABANDONED + timedelta(seconds=1)
    assert plant.sweeper().sweep().deleted == 2
    keep_all(plant.engine, plant.store, [(b"1", "image/png"), (b"2", "image/png")], plant.now)


def test_whoever_names_a_blob_late_holds_it_or_hears_that_it_is_gone(plant: Plant) -> None:
    held, gone = plant.keep(b"1"), plant.keep(b"2")
    plant.now += DAY
    with writing(plant.engine) as conn:
        assert blobs.hold(conn, {held}, plant.now)
    assert plant.sweeper().sweep().deleted == 1
    with writing(plant.engine) as conn:
        assert not blobs.hold(conn, {held, gone}, plant.now)
        conn.execute(sa.update(blob).values(state="deleting"))
        assert not blobs.hold(conn, {held}, plant.now)


def test_a_sweep_goes_on_where_its_time_ended_and_stops_when_told(plant: Plant) -> None:
    row = {"bytes": 1, "media_type": "image/png", "state": "stored", "touched_at": NOW}
    with writing(plant.engine) as conn:
        conn.execute(sa.insert(blob), [{"sha256": sha(n), **row} for n in range(PAGE + 50)])
    plant.now += DAY
    times = iter((0.0, 0.5, 1.5, 2.0, 2.1, 2.2))
    sweeper = plant.sweeper(monotonic=lambda: next(times))
    assert sweeper.sweep(1.0) == Swept(PAGE, PAGE, PAGE)
    assert len(plant.rows()) == 50
    assert sweeper.sweep(1.0) == Swept(50, 50, 50)
    assert plant.rows() == {}
    assert plant.sweeper(stopping=lambda: True).sweep() == Swept()


def test_on_postgresql_a_name_that_is_not_committed_yet_counts(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    with databases.on(postgresql_server), line(tmp_path) as here:
        plant = Plant(here)
        sha256 = plant.keep(b"1")
        plant.now += DAY
        with writing(plant.engine) as conn:
            conn.execute(
                sa.insert(dead_letter).values(
                    stream_id=here.stream_id, partition=0, offset=1, reason="bad_header", detail="", headers=[],
                    value_sha256=sha256, blob_sha256=sha256, counted=True, created_at=NOW,
                )
            )  # fmt: skip
            assert plant.sweeper().sweep().deleted == 0
        assert plant.sweeper().sweep().deleted == 0
        assert plant.rows() == {sha256: "stored"}
