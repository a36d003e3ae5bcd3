"""The pipeline over a log in memory: claims, outages, draining: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.demo.server import free_port
from agent.live import RedisLive
from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import offsets, stations
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.tables import frame_seen, item, outbox
from tests.streams import (
    DEFECT,
    GOOD,
    FakeScorer,
    corrupt,
    frame,
    headers,
    running,
    settings,
    until,
)


def _said(run: Any) -> list[dict[str, Any]]:
    return [json.loads(one.value) for one in run.sink.published]


@pytest.mark.promise(2)
def test_a_fenced_partition_is_claimed_again_and_nothing_is_lost_or_doubled(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log), scorer=FakeScorer(delay_s=0.01)) as run:
        for number in range(30):
            log.append(frame(), headers(f"f{number}"))
            if number == 10:
                run.until_received(1)
                with writing(engine) as conn:
                    (state,) = offsets.partitions(conn)
                    offsets.claim(conn, state.stream_id, 0, holder="somebody", start=0, now=utc_now())
        run.until(lambda: b"goodpart_fenced_total 1.0" in run.metrics.text())
        counts = run.until_received(30)
        assert counts == Counts(30, inspected=30)
        assert len({row.offset for row in run.rows()}) == 30


@pytest.mark.promise(2)
def test_lost_and_revoked_partitions_come_back_without_a_gap(engine: Engine, tmp_path: Path) -> None:
    log, n = MemoryLog(2), 120
    source = MemorySource(log)
    with running(engine, settings(tmp_path), source, scorer=FakeScorer(delay_s=0.002)) as run:
        for number in range(n):
            log.append(frame(), headers(f"f{number}"), partition=number % 2)
            if number % 30 == 10:
                (source.lose if number % 60 == 10 else source.revoke)({0})
            if number % 30 == 20:
                source.assign({0})
        counts = run.until_received(n)
        assert counts == Counts(n, inspected=n)
        run.until(lambda: len(run.sink.published) >= n)
        assert len({one["id"] for one in _said(run)}) == n


@pytest.mark.promise(4)
def test_what_is_in_flight_is_bounded_and_all_of_it_arrives(engine: Engine, tmp_path: Path) -> None:
    log, n = MemoryLog(2), 200
    for number in range(n):
        log.append(frame(), headers(f"f{number}"), partition=number % 2)
    most = 0
    wanted = settings(tmp_path, pipeline={"queue_frames": 16, "batch_size": 4})
    with running(engine, wanted, MemorySource(log), scorer=FakeScorer(delay_s=0.001)) as run:

        def done() -> bool:
            nonlocal most
            most = max(most, run.pipeline.stats().in_flight)
            return run.totals().received == n

        run.until(done)
        assert most <= 16
        assert run.totals() == Counts(n, inspected=n)
        assert max(run.scorer.batches) <= 4


@pytest.mark.promise(1)
def test_an_idle_partition_moves_past_offsets_without_records(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("a"))
    log.skip(0, 5)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:

        def stored() -> int:
            with reading(engine) as conn:
                return sum(one.next_offset for one in offsets.partitions(conn))

        run.until(lambda: stored() == 6)
        run.until(lambda: log.committed == {0: 6})
        run.until(lambda: run.pipeline.stats().lag == 0)


@pytest.mark.promise(3)
def test_start_from_latest_holds_for_the_first_run_only(engine: Engine, tmp_path: Path) -> None:
    """Of all partitions, also those that another agent claims later."""
    log = MemoryLog(2)
    for partition in range(2):
        log.append(frame(), headers(f"before-{partition}"), partition=partition)
    wanted = settings(tmp_path, kafka={"start_from": "latest"})
    first = MemorySource(log, auto=False)
    first.assign([0])
    with running(engine, wanted, first) as run:
        run.until(lambda: run.pipeline.stats().partitions == (0,))
    for partition in range(2):
        log.append(frame(), headers(f"between-{partition}"), partition=partition)
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(2)
        assert {row.frame_id for row in run.rows()} == {"between-0", "between-1"}


@pytest.mark.promise(8, 9)
def test_an_outage_of_the_broker_for_decisions_delays_them_and_loses_none(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.sink.reachable = False
        for number in range(5):
            log.append(frame(), headers(f"f{number}"))
        run.until_received(5)
        run.until(lambda: "broker" in run.health.outages)
        assert not run.health.dead()
        run.sink.reachable = True
        run.until(lambda: len(run.sink.published) == 5)
        assert [one["frame_id"] for one in _said(run)] == [f"f{number}" for number in range(5)]


@pytest.mark.promise(9)
def test_leftover_decisions_are_sent_first_after_the_next_claim(engine: Engine, tmp_path: Path) -> None:
    log, ids = MemoryLog(), [f"f{number}" for number in range(6)]
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.sink.reachable = False
        for one in ids[:3]:
            log.append(frame(), headers(one))
        run.until_received(3)
    for one in ids[3:]:
        log.append(frame(), headers(one))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until(lambda: len(run.sink.published) == len(ids))
        assert [one["frame_id"] for one in _said(run)] == ids
        run.until(lambda: not run.rows(outbox))


@pytest.mark.promise(9)
@pytest.mark.parametrize("how", ["recreated", "without its data"])
def test_decisions_of_a_topic_that_was_replaced_are_sent_before_those_of_the_new_one(
    engine: Engine, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.pipeline.intake.CERTAIN_S", 0.1)
    log, ids = MemoryLog(2), [f"f{number}" for number in range(3)]
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.sink.reachable = False
        for one in ids:
            log.append(frame(DEFECT), headers(one), partition=1)
        run.until_received(3)
    if how == "recreated":
        log.recreate()
    else:
        log = MemoryLog(2)
    log.append(frame(), headers("new"), partition=1)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until(lambda: len(run.sink.published) == 4)
        assert [one["frame_id"] for one in _said(run)] == [*ids, "new"]
        told = [dict(one.headers)["ce_id"].decode() for one in run.sink.published]
        assert told[:3] == [one["id"] for one in _said(run)][:3] == [f"goodpart.frames-1/1/{n}" for n in range(3)]
        assert told[3] == ("goodpart.frames-2/1/0" if how == "recreated" else "goodpart.frames-1#1/1/0")
        run.until(lambda: not run.rows(outbox))


@pytest.mark.promise(9)
def test_decisions_of_partitions_that_a_new_topic_does_not_have_are_sent(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog(4)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.sink.reachable = False
        for partition in range(4):
            log.append(frame(DEFECT), headers(f"f{partition}"), partition=partition)
        run.until_received(4)
    fewer = MemoryLog(2)
    fewer.key = replace(log.key, topic_id="goodpart.frames-2")
    with running(engine, settings(tmp_path), MemorySource(fewer)) as run:
        run.until(lambda: not run.rows(outbox))
        told = sorted(dict(one.headers)["ce_id"].decode() for one in run.sink.published)
        assert told == [f"goodpart.frames-1/{partition}/0" for partition in range(4)]


@pytest.mark.promise(8)
def test_redis_that_is_away_is_missed_in_the_live_view_only(engine: Engine, tmp_path: Path) -> None:
    log, live = MemoryLog(), RedisLive(f"redis://127.0.0.1:{free_port()}/0", timeout_s=0.2)
    try:
        for number in range(20):
            log.append(frame(), headers(f"f{number}"))
        with running(engine, settings(tmp_path), MemorySource(log), live=live) as run:
            run.until(lambda: len(run.sink.published) == 20)
            assert run.totals() == Counts(20, inspected=20)
            run.until(lambda: live.problem)
            assert run.health.unready() == run.health.dead() == {}
    finally:
        live.close()


@pytest.mark.promise(8)
def test_an_outage_of_the_blob_store_delays_flagged_frames_only(engine: Engine, tmp_path: Path) -> None:
    class Switched(LocalBlobs):
        off = True

        def put(self, data: bytes, media_type: str) -> str:
            if self.off:
                raise Unreachable("the disk is full")
            return super().put(data, media_type)

    log = MemoryLog(2)
    store = Switched(tmp_path / "blobs")
    with running(engine, settings(tmp_path), MemorySource(log), store=store) as run:
        log.append(frame(DEFECT), headers("bad"), partition=0)
        log.append(frame(GOOD), headers("good"), partition=1)
        run.until_received(1)
        run.until(lambda: "blobs" in run.health.outages)
        store.off = False
        run.until_received(2)
        run.until(lambda: not run.health.outages)
        assert len(run.rows(item)) == 1


@pytest.mark.promise(6)
def test_draining_finishes_what_is_in_flight_and_sends_it(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number in range(40):
        log.append(frame(), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log), scorer=FakeScorer(delay_s=0.005)) as run:
        run.until(lambda: run.pipeline.stats().in_flight > 0)
        assert run.pipeline.drain(20)
        done = run.totals().received
        assert done > 0
        assert run.pipeline.stats().in_flight == 0
        assert len(run.sink.published) == done == len(run.rows())


def test_a_frame_sent_again_within_a_day_has_one_decision(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog(2)
    now = utc_now()
    with running(engine, settings(tmp_path), MemorySource(log), clock=lambda: now) as run:
        for _ in range(3):
            log.append(frame(), headers("same"))
        log.append(frame(), headers("same", station="s2"), partition=1)
        assert run.until_received(4) == Counts(4, inspected=2, duplicate=2)
        assert len(run.rows(frame_seen)) == 2
        now += timedelta(hours=25)
        log.append(frame(), headers("same", captured_at=now), timestamp=now)
        assert run.until_received(5) == Counts(5, inspected=3, duplicate=2)


@pytest.mark.promise(2, 8)
def test_the_first_frames_wait_for_their_claim(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog(3)
    log.reachable = False
    for partition in range(3):
        log.append(frame(), headers(f"p{partition}"), partition=partition)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until(lambda: "source" in run.health.outages)
        log.reachable = True
        run.until_received(3)
        until(lambda: not run.health.outages)


def test_a_station_fares_as_whoever_had_its_partition_meanwhile_left_it(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    source = MemorySource(log)
    with running(engine, settings(tmp_path, pipeline={"blind_after": 4}), source) as run:
        for number in range(3):
            log.append(corrupt(), headers(f"a{number}"))
        run.until_received(3)
        source.lose({0})
        run.until(lambda: run.pipeline.stats().partitions == ())
        with writing(engine) as conn:  # another agent inspects one
            stations.set_status(conn, stations.named(conn, "s1").id, "ok", 0, utc_now(), utc_now())
        source.assign({0})
        for number in range(3):
            log.append(corrupt(), headers(f"b{number}"))
        run.until_received(6)
        with reading(engine) as conn:
            found = stations.named(conn, "s1")
        assert (found.status, found.failures_in_row) == ("ok", 3)
