"""The hot window: partitions are there before their frames, rows older than the window go, what is counted stays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agent.hot_window import CHUNK_S, FEWEST, MOST, PAUSE_S, TURN_S, Pruner, chores, make_partitions, next_size
from agent.settings import Retention
from agent.store import (
    alerts,
    audit,
    buckets,
    claims,
    commands,
    dead_letters,
    inspections,
    offsets,
    partitions,
    records,
    score_bins,
    sessions,
    teachings,
    trends,
)
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import open_engine, reading, writing
from agent.store.errors import Raced, Unreachable
from agent.store.inspections import Inspection
from agent.store.offsets import Counts
from agent.store.partitions import Partition
from agent.store.rows import delete_oldest
from agent.store.tables import (
    alert,
    audit_event,
    claim,
    command,
    dead_letter,
    idempotency_key,
    inspection,
    metadata,
    rollup_minute,
    session,
)
from tests import databases
from tests.databases import NOW, Line, add_blob, line, sha
from tests.postgresql import PostgreSQL
from tests.streams import until

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


def test_a_row_that_waits_while_its_day_gets_a_partition_is_recorded_there(on_postgresql: Line) -> None:
    here = on_postgresql
    with writing(here.engine) as conn, ThreadPoolExecutor(1) as recorder:
        partitions.add(conn, TODAY)
        added = recorder.submit(_add, here, here.inspection(0))
        until(lambda: _waits(here) or added.done())
        conn.commit()
        with pytest.raises(Raced, match="got its partition meanwhile"):
            added.result()
    _add(here, here.inspection(0))
    assert _held(here) == {"inspection_y2026m03d02": [0]}


def _waits(here: Line) -> bool:
    with reading(here.engine) as conn:
        return bool(conn.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


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
        assert sum(point.passed for point in trends.flag_series(conn, *year, "quarter")) == len(rows)
        assert score_bins.histogram(conn, here.product_id, date(2026, 1, 1), TODAY).n == len(rows)
        assert offsets.totals(conn) == Counts(len(rows), len(rows))


def _ids(here: Line, table: sa.Table) -> list[int]:
    with reading(here.engine) as conn:
        return list(conn.execute(sa.select(table.c.id).order_by(table.c.id)).scalars())


def _alert(conn: sa.Connection, ended: timedelta | None, kind: str = "silent") -> int:
    """Raised and, where it says how long ago, ended; the webhook has nothing to say of it."""
    opened = NOW - timedelta(days=99)
    given: dict[str, Any] = {"level": "error", "detail": {}, "event": False, "now": opened}
    made = alerts.raise_(conn, kind, f"station:{kind}", "words", **given)
    assert made is not None
    if ended is not None:
        alerts.clear(conn, kind, f"station:{kind}", NOW - ended)
    conn.execute(sa.update(alert).where(alert.c.id == made.id).values(next_attempt_at=None))
    return made.id


@each_database
def test_alerts_go_long_after_their_end_and_open_ones_stay(here: Line) -> None:
    with writing(here.engine) as conn:
        old = [_alert(conn, timedelta(days=40), f"old-{n}") for n in range(2 * FEWEST)]
        unseen, seen = _alert(conn, None, "unseen"), _alert(conn, None, "seen")
        alerts.acknowledge(conn, seen, here.operator.id, event=False, now=NOW - timedelta(days=98))
        untold, new, newest = (_alert(conn, timedelta(days=days), f"{days}") for days in (41, 20, 50))
        conn.execute(sa.update(alert).where(alert.c.id == untold).values(next_attempt_at=NOW))
        audit.append(conn, None, "test", "alert:1", {}, NOW - timedelta(days=4000))
    prune = Pruner(here.engine, Retention(records_days=30), pause=lambda _: None)
    prune(NOW)
    assert _ids(here, alert) == [unseen, seen, untold, new, newest]
    with writing(here.engine) as conn:
        another = _alert(conn, None, "another")
    assert another > newest > max(old)
    prune(NOW)
    assert _ids(here, alert) == [unseen, seen, untold, new, another]
    assert len(_ids(here, audit_event)) == 1


@each_database
def test_commands_go_long_after_they_were_done_and_what_is_under_way_stays(here: Line) -> None:
    def done(conn: sa.Connection, days: int, product_id: int = 0, failed: bool = False) -> int:
        made = commands.add(conn, teachings.LOOK, {"product_id": product_id}, here.engineer.id, NOW)
        assert commands.next(conn, [teachings.LOOK])
        commands.finish(conn, made, failed=failed, now=NOW - timedelta(days=days))
        return made

    with writing(here.engine) as conn:
        teachings.begin(conn, here.product_id, here.station_id, 9, here.engineer.id, NOW)
        gone = [done(conn, 31), done(conn, 40, failed=True)]
        told, new = done(conn, 40, here.product_id, failed=True), done(conn, 29)
        waits = commands.add(conn, "retrain", {"product_id": 0}, here.engineer.id, NOW - timedelta(days=400))
    Pruner(here.engine, Retention(records_days=30))(NOW)
    assert _ids(here, command) == [told, new, waits]
    assert not set(gone) & {told, new, waits}
    with writing(here.engine) as conn:
        teachings.move(conn, here.product_id, "cancelled", NOW, expected=["collecting"])
    Pruner(here.engine, Retention(records_days=30))(NOW)
    assert _ids(here, command) == [new, waits]


@each_database
def test_dead_letters_without_bytes_go_and_those_that_can_be_replayed_stay(here: Line) -> None:
    with writing(here.engine) as conn:
        add_blob(conn, 1)
        ages = {0: 40, 1: 40, 2: 29, 3: 40}
        dead_letters.add_all(conn, [
            NewDeadLetter(
                here.stream_id, 0, offset, "press-1", "bad_header", "", [], sha(1),
                sha(1) if offset == 1 else None, True, NOW - timedelta(days=days),
            )
            for offset, days in ages.items()
        ])  # fmt: skip
    Pruner(here.engine, Retention(records_days=30))(NOW)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(dead_letter.c.offset).order_by("offset")).scalars().all() == [1, 2, 3]


@each_database
def test_claims_of_items_that_were_left_go(here: Line) -> None:
    with writing(here.engine) as conn:
        items = [here.add_item(conn, n).id for n in range(2)]
        for item_id, hours in zip(items, (25, 23), strict=True):
            until = NOW - timedelta(hours=hours)
            assert claims.hold(conn, item_id, here.operator.id, until, until)
    Pruner(here.engine, Retention())(NOW)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(claim.c.item_id)).scalars().all() == items[1:]


@each_database
def test_sessions_that_nobody_was_seen_in_for_a_week_go(here: Line) -> None:
    with writing(here.engine) as conn:
        for days in (8, 6):
            sessions.open(conn, here.operator.id, "t", "password", NOW - timedelta(days=days))
    Pruner(here.engine, Retention())(NOW)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(session.c.seen_at)).scalars().all() == [NOW - timedelta(days=6)]


def test_records_that_go_are_found_by_an_index(tmp_path: Path) -> None:
    """Or each chunk of a long table would be read to its end with SQLite's write lock in hand."""
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    metadata.create_all(engine)
    for one in records.ALL:
        query = sa.select(one.over_at).where(one.over_at < NOW, *one.only).order_by(one.over_at).limit(1)
        text = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
        with reading(engine) as conn:
            plan = " ".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
        assert f"SEARCH {one.over_at.table.name} USING" in plan, plan
    engine.dispose()


def test_the_docs_say_of_every_table_when_its_rows_go() -> None:
    text = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")
    rows = text.split("## When rows go")[1]
    named = [name for cell in re.findall(r"^\| (`.*?) \|", rows, flags=re.M) for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(metadata.tables)


@each_database
def test_for_good_means_for_good(here: Line) -> None:
    row = here.inspection(0, event_at=NOW - timedelta(days=4000))
    with writing(here.engine) as conn:
        inspections.add_all(conn, [row])
        trends.add_inspections(conn, [row])
        ended = [_alert(conn, timedelta(days=4000), str(n)) for n in range(2)]
    Pruner(here.engine, Retention(inspections_days=0, minutes_days=0, records_days=0))(NOW)
    assert _ids(here, alert) == ended
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
