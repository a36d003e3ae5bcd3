"""The way of a frame over a log in memory: every outcome of stream.md, and what goes wrong on the way."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from agent.frame import RawFormat
from agent.pipeline.claims import DataGapError
from agent.pipeline.provider import Deployed
from agent.pipeline.score import EngineFaultError
from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import offsets, products, stations
from agent.store.blobs import LocalBlobs
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.offsets import Counts
from agent.store.tables import blob, data_gap, dead_letter, frame_seen, item, rollup_minute, station
from model.images import decode
from tests.databases import database
from tests.streams import (
    DEFECT,
    GOOD,
    POISON,
    FakeScorer,
    certificate,
    corrupt,
    frame,
    headers,
    running,
    settings,
    until,
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with database(tmp_path) as opened:
        yield opened


def _said(run: Any) -> list[dict[str, Any]]:
    return [json.loads(one.value) for one in run.sink.published]


def test_every_outcome_is_recorded_once_and_told_once(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog(2)
    log.append(frame(GOOD), headers("good"))
    log.append(frame(DEFECT), headers("bad", serial="S-1", lot="L"), partition=1)
    log.append(frame(), [("ce_type", b"something.else"), *headers("x")])
    log.append(frame(), headers("x", station="nowhere"))
    log.append(frame(), headers("x", product="nothing"))
    log.append(corrupt(), headers("torn"))
    log.append(frame(), headers("good"))  # the camera sent it again
    log.append(frame(), headers("old", captured_at=utc_now() - timedelta(hours=2)))
    log.append(bytes(2 << 20), headers("big"))
    log.append(b"", [("ce_dataref", b"s3://elsewhere/x"), *headers("check")])
    raw = RawFormat(8, 4, "Mono8")
    log.append(bytes([GOOD]) * 32, headers("raw", content_type="application/x-goodpart-raw", raw=raw))
    log.append(bytes(31), headers("short", content_type="application/x-goodpart-raw", raw=raw))
    with running(engine, settings(tmp_path, pipeline={"max_frame_mb": 1}), MemorySource(log)) as run:
        counts = run.until_received(12)
        run.until(lambda: len(run.sink.published) == 11)
        assert counts == Counts(12, inspected=3, not_inspected=5, dead_lettered=3, duplicate=1)
        assert counts.balanced
        found = {row.frame_id: (row.verdict, row.reason) for row in run.rows()}
        assert found == {
            "good": ("pass", None),
            "bad": ("review", None),
            "raw": ("pass", None),
            "torn": ("not_inspected", "undecodable"),
            "old": ("not_inspected", "too_old"),
            "big": ("not_inspected", "too_large"),
            "check": ("not_inspected", "claim_missing"),
            "short": ("not_inspected", "wrong_size"),
        }
        assert all(row.deployment_id == run.seeded.deployment_id for row in run.rows() if row.verdict == "pass")
        letters = run.rows(dead_letter)
        assert Counter((row.reason, row.counted) for row in letters) == {
            ("bad_header", True): 3,
            ("undecodable", False): 1,
            ("too_large", False): 1,
            ("claim_missing", False): 1,
            ("wrong_size", False): 1,
        }
        assert sum(row.blob_sha256 is not None for row in letters) == 6  # all but the empty one
        assert {(row.frame_id, row.kind) for row in run.rows(item)} == {
            ("bad", "flagged"),
            ("torn", "failed"),
            ("big", "failed"),
            ("short", "failed"),
        }
        said = _said(run)
        assert len({one["id"] for one in said}) == len(said) == 11
        assert Counter(one["verdict"] for one in said) == {"not_inspected": 8, "pass": 2, "review": 1}
        flagged = next(one for one in said if one["frame_id"] == "bad")
        assert (flagged["station"], flagged["serial"], flagged["lot"]) == ("s1", "S-1", "L")
        assert flagged["score"] == pytest.approx(2.5)
        assert flagged["p_value"] == pytest.approx(1 / 101)
        head = dict(run.sink.published[0].headers)
        assert head["ce_type"] == b"goodpart.decision.v1"
        assert head["ce_id"].decode() == f"{log.key.topic_id}/0/0" or head["ce_id"].decode().endswith("/1/0")
        rolled = run.rows(rollup_minute)
        assert sum(row.n_pass for row in rolled) == 2
        assert sum(row.n_not_inspected for row in rolled) == 5
        with reading(engine) as conn:
            assert all(one.counts.balanced for one in offsets.partitions(conn))


def test_flagged_frames_have_all_their_evidence(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    sent = frame(DEFECT, side=2000)
    log.append(sent, headers("bad"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
        (row,) = run.rows(item)
        assert run.store.get(row.frame_sha256) == sent
        heatmap = np.load(io.BytesIO(run.store.get(row.heatmap_sha256)), allow_pickle=False)
        assert (heatmap.dtype, heatmap.shape) == (np.float16, (8, 8))
        for name, side in (("preview_sha256", 1600), ("overlay_sha256", 1600), ("thumbnail_sha256", 256)):
            assert decode(run.store.get(getattr(row, name))).shape == (side, side, 3)
        assert {one.state for one in run.rows(blob)} == {"stored"}


def test_raw_frames_are_kept_as_pictures_that_can_be_read_again(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    raw = RawFormat(8, 4, "Mono8")
    log.append(bytes([DEFECT]) * 32, headers("r", content_type="application/x-goodpart-raw", raw=raw))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
        (row,) = run.rows(item)
        assert (decode(run.store.get(row.frame_sha256)) == DEFECT).all()


def test_audited_frames_are_items_whatever_their_verdict(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number, value in enumerate((GOOD, DEFECT)):
        log.append(frame(value), headers(f"f{number}"))
    with running(engine, settings(tmp_path, audit={"rate": 1}), MemorySource(log)) as run:
        run.until_received(2)
        assert {(row.frame_id, row.kind, row.verdict) for row in run.rows(item)} == {
            ("f0", "audit", "pass"),
            ("f1", "audit", "review"),
        }


def test_a_station_registered_while_the_agent_runs_is_known_at_once(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        log.append(frame(), headers("a"))
        run.until_received(1)
        with writing(engine) as conn:
            stations.add(conn, "s3", product_id=run.seeded.product_id, now=utc_now())
        log.append(frame(), headers("b", station="s3"))
        assert run.until_received(2).inspected == 2


def test_no_model_is_not_inspected_and_keeps_nothing(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with writing(engine) as conn:
        products.add(conn, "untaught", now=utc_now())
    log.append(frame(), headers("a", product="untaught"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
        assert [(row.verdict, row.reason) for row in run.rows()] == [("not_inspected", "no_model")]
        assert run.rows(item) == run.rows(dead_letter) == []


def test_a_certificate_of_another_scorer_sends_everything_to_review(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    wanted = settings(tmp_path, blobs={"failed_per_hour": 1})
    with running(engine, wanted, MemorySource(log)) as run:
        other = Deployed(run.seeded.deployment_id, run.scorer, certificate(run.seeded.artifact_sha256, "other/1"))
        run.provider.deployed[run.seeded.product_id] = other
        for number in range(2):
            log.append(frame(), headers(f"f{number}"))
        run.until_received(2)
        assert {(row.verdict, row.reason, row.p_value) for row in run.rows()} == {("review", "uncertified", None)}
        assert len(run.rows(item)) == 1  # the quota


def test_a_batch_that_fails_is_halved_until_only_the_bad_frame_is_left(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    values = [GOOD] * 9
    values[4] = POISON
    for number, value in enumerate(values):
        log.append(frame(value), headers(f"f{number}"))
    with running(engine, settings(tmp_path, pipeline={"max_wait_ms": 500}), MemorySource(log)) as run:
        counts = run.until_received(9)
        assert (counts.inspected, counts.not_inspected) == (8, 1)
        assert {row.frame_id: row.reason for row in run.rows() if row.reason} == {"f4": "model_error"}


def test_a_score_that_is_no_number_is_a_model_error(engine: Engine, tmp_path: Path) -> None:
    class Nan(FakeScorer):
        def score(self, frames: Any) -> Any:
            found = super().score(frames)
            for one in found:
                one.score = float("nan")
            return found

    log = MemoryLog()
    log.append(frame(), headers("a"))
    with running(engine, settings(tmp_path), MemorySource(log), scorer=Nan()) as run:
        run.until_received(1)
        assert [(row.verdict, row.reason, row.score) for row in run.rows()] == [("not_inspected", "model_error", None)]


def test_a_broken_engine_opens_the_breaker_and_records_nothing(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        log.append(frame(), headers("a"))
        run.until_received(1)
        run.scorer.broken = True
        log.append(frame(), headers("b"))
        assert run.pipeline.halted.wait(20)
        assert isinstance(run.pipeline.failed, EngineFaultError)
        assert run.totals().received == 1


def test_failures_in_a_row_make_a_station_blind_until_one_is_inspected(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path, pipeline={"blind_after": 3}), MemorySource(log)) as run:

        def status() -> tuple[str, int]:
            row = next(one for one in run.rows(station) if one.name == "s1")
            return row.status, row.failures_in_row

        for number in range(2):
            log.append(corrupt(), headers(f"x{number}"))
        run.until(lambda: status() == ("ok", 2))
        log.append(corrupt(), headers("x2"))
        run.until(lambda: status() == ("blind", 3))
        log.append(frame(), headers("fine"))
        run.until(lambda: status() == ("ok", 0))


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


def test_start_from_latest_holds_for_the_first_run_only(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("before"))
    wanted = settings(tmp_path, kafka={"start_from": "latest"})
    with running(engine, wanted, MemorySource(log)) as run:
        run.until(lambda: run.pipeline.stats().partitions == (0,))
    log.append(frame(), headers("between"))
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(1)
        assert [row.frame_id for row in run.rows()] == ["between"]


@pytest.mark.parametrize(("policy", "expected"), [("earliest", {"f0", "f4"}), ("latest", {"f0", "f5"})])
def test_frames_that_the_log_lost_are_a_gap_on_record(
    engine: Engine, tmp_path: Path, policy: str, expected: set[str]
) -> None:
    log = MemoryLog()
    wanted = settings(tmp_path, kafka={"on_gap": policy})
    log.append(frame(), headers("f0"))
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(1)
    for number in range(1, 5):
        log.append(frame(), headers(f"f{number}"))
    log.truncate(0, 4)
    with running(engine, wanted, MemorySource(log)) as run:
        run.until(lambda: run.rows(data_gap))
        run.until(lambda: run.pipeline.stats().partitions == (0,))
        if policy == "latest":
            log.append(frame(), headers("f5"))
        run.until_received(2)
        (row,) = run.rows(data_gap)
        assert (row.kind, row.from_offset, row.to_offset) == ("below_start", 1, 4 if policy == "earliest" else 5)
        assert {one.frame_id for one in run.rows()} == expected


def test_a_gap_stops_the_agent_where_it_shall(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("a"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
    log.append(frame(), headers("b"))
    log.append(frame(), headers("c"))
    log.truncate(0, 2)
    with running(engine, settings(tmp_path, kafka={"on_gap": "stop"}), MemorySource(log)) as run:
        assert run.pipeline.halted.wait(20)
        assert isinstance(run.pipeline.failed, DataGapError)
        assert run.rows(data_gap) == []


def test_a_log_that_ends_before_the_stored_offset_is_another_stream(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number in range(3):
        log.append(frame(DEFECT), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(3)
    restored = MemoryLog()
    restored.append(frame(DEFECT), headers("g0"))
    for _ in range(2):
        with running(engine, settings(tmp_path), MemorySource(restored)) as run:
            run.until_received(4)
            assert {row.frame_id for row in run.rows()} == {"f0", "f1", "f2", "g0"}
            assert [row.kind for row in run.rows(data_gap)] == ["beyond_end"]


def test_a_topic_recreated_while_the_agent_runs_is_read_from_its_start(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number in range(3):
        log.append(frame(), headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(3)
        log.recreate()
        log.append(frame(), headers("again"))
        assert run.until_received(4) == Counts(4, inspected=4)
        with reading(engine) as conn:
            assert sorted(one.next_offset for one in offsets.partitions(conn)) == [1, 3]


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


def test_leftover_decisions_are_sent_after_the_next_claim(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.sink.reachable = False
        log.append(frame(), headers("a"))
        run.until_received(1)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until(lambda: [one["frame_id"] for one in _said(run)] == ["a"])


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
