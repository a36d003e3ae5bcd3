"""The hot window: partitions are there before their frames, rows older than the window go, what is counted stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agent.hot_window import CHUNK_S, FEWEST, MOST, PAUSE_S, TURN_S, Pruner, chores, make_partitions, next_size
from agent.settings import Retention
from agent.store import buckets, inspections, offsets, partitions, score_bins, trends
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.inspections import Inspection
from agent.store.offsets import Counts
from agent.store.partitions import Partition
from agent.store.rows import delete_oldest
from agent.store.tables import idempotency_key, inspection, rollup_minute
from tests import databases
from tests.databases import NOW, Line, line
from tests.postgresql import PostgreSQL

TODAY = NOW.date()
each_database = pytest.mark.usefixtures("each_database")


@pytest.fixture
def on_postgresql(tmp_path: Path, postgresql_server: PostgreSQL) -> Iterator[Line]:
    with databases.on(postgresql_server), line(tmp_path) as made:
        yield made


def _held(here: Line) -> dict[str, list[int]]:
    """Offsets by the partition that holds them."""
    query = 'SELECT tableoid::regclass::text, array_agg("offset" ORDER BY "offset") FROM inspection GROUP BY 1'
    with reading(here.engine) as conn:
        return {str(row[0]): list(row[1]) for row in conn.execute(sa.text(query))}


def _add(here: Line, *rows: Inspection) -> None:
    with writing(here.engine) as conn:
        inspections.add_all(conn, rows)


def test_partitions_are_made_ahead_and_take_what_lay_in_the_default_one(on_postgresql: Line) -> None:
    here = on_postgresql
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    edges = [midnight - timedelta(microseconds=1), midnight, midnight + timedelta(days=1, microseconds=-1)]
    far = [midnight + timedelta(days=1), midnight + timedelta(days=4), datetime(9999, 12, 31, tzinfo=UTC)]
    rows = [here.inspection(n, event_at=at) for n, at in enumerate([*edges, *far])]
    _add(here, *rows)
    assert _held(here) == {"inspection_default": [0, 1, 2, 3, 4, 5]}
    for _ in range(2):
        make_partitions(here.engine, NOW)
        assert _held(here) == {
            "inspection_default": [0, 4, 5], "inspection_y2026m03d02": [1, 2], "inspection_y2026m03d03": [3],
        }  # fmt: skip
    with reading(here.engine) as conn:
        assert [one.first for one in partitions.all(conn)] == [TODAY + timedelta(days=n) for n in range(4)]
        assert sorted(inspections.recent(conn), key=lambda row: row.offset) == rows
    _add(here, here.inspection(9, event_at=midnight + timedelta(days=3)))
    assert _held(here)["inspection_y2026m03d05"] == [9]
    make_partitions(here.engine, NOW + timedelta(days=1))
    assert _held(here)["inspection_y2026m03d06"] == [4]


def test_making_partitions_waits_for_nobody_who_inserts_into_others(on_postgresql: Line) -> None:
    here = on_postgresql
    with writing(here.engine) as conn:
        partitions.add(conn, TODAY)
    with writing(here.engine) as recorder:
        inspections.add_all(recorder, [here.inspection(0)])
        make_partitions(here.engine, NOW)
        inspections.add_all(recorder, [here.inspection(1)])
    assert _held(here) == {"inspection_y2026m03d02": [0, 1]}


def test_what_is_locked_stays_as_it_is_until_the_next_turn(on_postgresql: Line) -> None:
    here = on_postgresql
    _add(here, here.inspection(0))
    with writing(here.engine) as recorder:
        inspections.add_all(recorder, [here.inspection(1)])
        with pytest.raises(Unreachable, match="lock timeout"):
            make_partitions(here.engine, NOW)
        inspections.add_all(recorder, [here.inspection(2)])
    assert _held(here) == {"inspection_default": [0, 1, 2]}
    make_partitions(here.engine, NOW)
    assert _held(here) == {"inspection_y2026m03d02": [0, 1, 2]}
    with reading(here.engine) as reader:
        inspections.count(reader)
        with pytest.raises(Unreachable, match="lock timeout"):
            Pruner(here.engine, Retention(inspections_days=1))(NOW + timedelta(days=9))
    assert _held(here) == {"inspection_y2026m03d02": [0, 1, 2]}


def test_a_day_too_large_to_be_moved_in_short_stays_and_the_others_get_theirs(
    on_postgresql: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, add = on_postgresql, partitions.add

    def slow_today(conn: sa.Connection, day: date) -> int:
        moved = add(conn, day)
        if day == TODAY:
            conn.execute(sa.text("SELECT pg_sleep(30)"))
        return moved

    monkeypatch.setattr(partitions, "add", slow_today)
    _add(here, here.inspection(0))
    with pytest.raises(Unreachable, match="statement timeout"):
        make_partitions(here.engine, NOW)
    assert _held(here) == {"inspection_default": [0]}
    with reading(here.engine) as conn:
        assert [one.first for one in partitions.all(conn)] == [TODAY + timedelta(days=n) for n in (1, 2, 3)]


def test_days_that_an_older_partition_holds_are_not_missing() -> None:
    there = [Partition(TODAY + timedelta(days=1), None), partitions.of_day(TODAY + timedelta(days=2))]
    assert partitions.missing(there, TODAY, 3) == [TODAY + timedelta(days=1), TODAY + timedelta(days=3)]
    assert [one.name for one in there] == ["inspection_before_y2026m03d03", "inspection_y2026m03d04"]


@each_database
def test_pruning_takes_exactly_the_older_days_and_nothing_that_is_counted(here: Line) -> None:
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    last = midnight - timedelta(days=2)
    times = [last + timedelta(hours=n) for n in range(-90, 60)] + [last - timedelta(microseconds=1)] * 200
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 1)
    rows = [here.inspection(n, event_at=at, deployment_id=deployed) for n, at in enumerate(times)]
    if here.engine.dialect.name == "postgresql":
        for days in (-3, -2, 0):  # the others' rows lie in the default partition
            with writing(here.engine) as conn:
                partitions.add(conn, TODAY + timedelta(days=days))
    with writing(here.engine) as conn:
        claim = offsets.claim(conn, here.stream_id, 0, holder="a", start=0, now=NOW)
        offsets.advance(conn, claim, len(rows), Counts(len(rows), len(rows)), NOW)
        inspections.add_all(conn, rows)
        trends.add_inspections(conn, rows)
        score_bins.add_inspections(conn, rows, UTC)
        for n, age in enumerate((1, 6, 8, 30)):
            key = {"key": str(n), "user_id": here.admin.id, "action": "a", "request": "0" * 64}
            conn.execute(sa.insert(idempotency_key).values(**key, created_at=NOW - timedelta(days=age)))
    pauses: list[float] = []
    Pruner(here.engine, Retention(inspections_days=2, minutes_days=1), pause=pauses.append)(NOW)
    assert PAUSE_S in pauses
    with reading(here.engine) as conn:
        left = conn.execute(sa.select(inspection.c.offset)).scalars().all()
        assert sorted(left) == [row.offset for row in rows if row.event_at >= last]
        if here.engine.dialect.name == "postgresql":
            assert [one.first for one in partitions.all(conn)] == [TODAY - timedelta(days=2), TODAY]
        minutes = conn.execute(sa.select(rollup_minute.c.start)).scalars().all()
        wanted = {buckets.minute(row.event_at) for row in rows}
        assert sorted(minutes) == sorted(one for one in wanted if one >= NOW - timedelta(days=1))
        assert conn.execute(sa.select(idempotency_key.c.key).order_by("key")).scalars().all() == ["0", "1"]
        year = (NOW - timedelta(days=365), NOW + timedelta(days=1))
        assert sum(point.passed for point in trends.flag_series(conn, *year, "day")) == len(rows)
        assert score_bins.histogram(conn, here.product_id, date(2026, 1, 1), TODAY).n == len(rows)
        assert offsets.totals(conn) == Counts(len(rows), len(rows))


@each_database
def test_for_good_means_for_good(here: Line) -> None:
    row = here.inspection(0, event_at=NOW - timedelta(days=4000))
    with writing(here.engine) as conn:
        inspections.add_all(conn, [row])
        trends.add_inspections(conn, [row])
    Pruner(here.engine, Retention(inspections_days=0, minutes_days=0))(NOW)
    with reading(here.engine) as conn:
        assert inspections.count(conn) == 1
        assert conn.execute(sa.select(sa.func.count()).select_from(rollup_minute)).scalar_one() == 1


@each_database
def test_a_chunk_takes_the_oldest_and_never_more_than_asked_though_all_are_of_one_moment(here: Line) -> None:
    _add(here, *(here.inspection(n, event_at=NOW - timedelta(hours=n // 5)) for n in range(20)))
    deleted, left = [], []
    for _ in range(4):
        with writing(here.engine) as conn:
            deleted.append(delete_oldest(conn, inspection.c.event_at, NOW, 7))
            left.append(sorted(conn.execute(sa.select(inspection.c.offset)).scalars()))
    assert deleted == [7, 7, 1, 0]  # five are not before NOW
    assert left == [[*range(10), 12, 13, 14], [*range(5), 9], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]


@each_database
def test_a_turn_ends_though_there_is_more(here: Line) -> None:
    _add(here, *(here.inspection(n, event_at=NOW - timedelta(days=99)) for n in range(3 * FEWEST)))
    seconds = iter(range(10**6))
    Pruner(here.engine, Retention(), monotonic=lambda: next(seconds) * TURN_S / 4, pause=lambda _: None)(NOW)
    with reading(here.engine) as conn:
        assert inspections.count(conn) == 2 * FEWEST


@given(st.floats(1e-5, 1e-3), st.floats(0, 0.004))
def test_chunks_grow_to_what_a_transaction_may_take_and_no_further(each: float, fixed: float) -> None:
    size = FEWEST
    for _ in range(20):
        size = next_size(size, fixed + size * each)
    assert FEWEST <= size <= MOST
    assert fixed + size * each <= max(CHUNK_S, fixed + FEWEST * each)
    assert size in (FEWEST, MOST) or fixed + size * each > CHUNK_S / 4


@each_database
def test_the_daemon_is_given_what_its_database_needs(here: Line) -> None:
    names = [chore.name for chore in chores(here.engine, Retention())]
    assert names == (["prune"] if here.engine.dialect.name == "sqlite" else ["partitions", "prune"])
