"""A second model scores its sample beside what decides: rows, items and pictures, and nothing else changes."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine
from structlog.testing import capture_logs

from agent.frame import Record, StreamKey
from agent.metrics import Metrics
from agent.pipeline.provider import Companion
from agent.pipeline.second import SecondScorer
from agent.pipeline.work import Lane, Outcome, Work
from agent.service import reviews
from agent.settings import Settings, utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import item_vectors, items, registry, users, watches
from agent.store.engine import reading, writing
from agent.store.install import install_of
from agent.store.offsets import Claim
from agent.store.tables import item, shadow_score
from agent.watching.judge import Judge
from model.statistics import keyed_fraction
from tests.alarms import Noted
from tests.companions import BOTH, NEITHER, NEW, OLD, Choosy, flags_new, manager_of, send, share_of
from tests.streams import POISON, FakeScored, Running, certificate, frame, headers, running, seed, settings


def _watch(run: Running, *, share: float = 1.0, judged: bool = True) -> Choosy:
    """What decided goes on as the companion of a new model; returns it."""
    old = Choosy(artifact_sha256=run.seeded.artifact_sha256, flags=frozenset({OLD, BOTH}), heat=3.0, space="7" * 64)
    new = seed(run.engine, run.store, artifact=b"new", watch_share=0.2)
    with reading(run.engine) as conn:
        opened = watches.active(conn, new.product_id)
    assert opened is not None
    run.scorer.artifact_sha256 = new.artifact_sha256
    beside = Companion(opened.id, old, certificate(old.artifact_sha256), share, judged)
    used = replace(run.provider.deployed[new.product_id], certificate=certificate(new.artifact_sha256))
    run.provider.deployed[new.product_id] = replace(used, deployment_id=new.deployment_id, companion=beside)
    return old


def _said(run: Running) -> dict[str, tuple[Any, ...]]:
    told = [json.loads(one.value) for one in run.sink.published]
    return {one["frame_id"]: (one["verdict"], one["score"], one["p_value"], one["severity"]) for one in told}


@pytest.mark.usefixtures("each_database")
def test_both_flags_are_recorded_and_what_either_flags_is_an_item_but_the_verdict_is_one_models(
    engine: Engine, tmp_path: Path
) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log), scorer=flags_new()) as run:
        send(log, [NEITHER, NEW, OLD, BOTH])
        run.until_received(4)
        run.until(lambda: len(run.sink.published) == 4)
        alone = _said(run)
        _watch(run)
        send(log, [NEITHER, NEW, OLD, BOTH], serial="S-1", lot="L")
        counts = run.until_received(8)
        run.until(lambda: len(run.sink.published) == 8)
        assert counts.inspected == 8
        beside = _said(run)
        assert [beside[f"f{n + 4}"] for n in range(4)] == [alone[f"f{n}"] for n in range(4)]
        rows = sorted(run.rows(shadow_score), key=lambda row: row.offset)
        assert [(row.flagged, row.other_flagged, row.score, row.other_score) for row in rows] == [
            (False, False, 1.5, 1.5), (True, False, 2.5, 1.5), (False, True, 1.5, 2.5), (True, True, 2.5, 2.5)
        ]  # fmt: skip
        assert {row.part for row in rows} == {"S-1"}
        found = sorted(run.rows(item), key=lambda row: row.offset)
        assert [(row.frame_id, row.kind, row.verdict, row.watched) for row in found] == [
            ("f1", "flagged", "review", False),
            ("f3", "flagged", "review", False),
            ("f5", "flagged", "review", True),
            ("f6", "flagged", "pass", True),
            ("f7", "flagged", "review", True),
        ]
        assert all(row.deployment_id == run.provider.deployed[run.seeded.product_id].deployment_id for row in found[2:])
        heat = [np.load(io.BytesIO(run.store.get(row.heatmap_sha256)), allow_pickle=False).max() for row in found]
        assert heat == [1, 1, 1, 3, 1]  # where the companion alone sees something, its map shows it
        assert [row.other_overlay_sha256 is not None for row in found] == [False, False, True, True, False]
        assert all(run.store.get(row.other_overlay_sha256) for row in found[2:4]), "what they disagree on shows both"
        with reading(run.engine) as conn:
            vectors = item_vectors.of_items(conn, [row.id for row in found])
        assert [vectors[row.id].space[0] for row in found] == list("55575")  # and its features go with it
        with reading(engine) as conn:
            queued = [one.frame_id for one in items.queue(conn)]
        assert queued == ["f5", "f6", "f7", "f1", "f3"]
        assert run.metrics.second_frames.labels("scored")._value.get() == 4


def test_a_companion_that_fails_costs_no_frame_anything(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with capture_logs() as said, running(engine, settings(tmp_path), MemorySource(log), scorer=flags_new()) as run:
        _watch(run).broken = True
        for number in range(3):
            send(log, [NEW, OLD])
            run.until_received(2 * number + 2)
        assert {row.frame_id: row.verdict for row in run.rows()} == {
            f"f{number}": ("pass" if number % 2 else "review") for number in range(6)
        }
        assert run.rows(shadow_score) == []
        assert run.metrics.second_frames.labels("failed")._value.get() == 6
        assert run.metrics.breaker._value.get() == 0
    assert sum(one["event"] == "second_scoring_failed" for one in said) == 1


def test_of_a_drawn_group_only_the_frame_that_fails_is_missing() -> None:
    lane = Lane(StreamKey("c", "t", "topic"), Claim(1, 0, 0, 1, "me"))

    def work(offset: int, grey: int) -> Work:
        made = Work(lane, Record(0, offset, utc_now(), None, (), b""), utc_now(), 0.0)
        made.pixels, made.outcome = np.full((24, 24, 3), grey, np.uint8), Outcome("pass", utc_now())
        return made

    metrics = Metrics()
    drawn = [work(n, POISON if n == 2 else NEITHER) for n in range(7)]
    SecondScorer(metrics)(Companion(1, Choosy(), certificate(), 1.0), drawn)
    assert [one.outcome is not None and one.outcome.second is not None for one in drawn] == [n != 2 for n in range(7)]
    assert metrics.second_frames.labels("failed")._value.get() == 1
    assert metrics.second_frames.labels("scored")._value.get() == 6


def test_a_score_that_is_no_number_is_nobodys(engine: Engine, tmp_path: Path) -> None:
    class Nan(Choosy):
        def score(self, frames: Sequence[Any]) -> list[FakeScored]:
            return [replace(one, score=float("nan")) for one in super().score(frames)]

    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log), scorer=flags_new()) as run:
        old = _watch(run)
        used = run.provider.deployed[run.seeded.product_id]
        assert used.companion is not None
        nan = Nan(artifact_sha256=old.artifact_sha256)
        run.provider.deployed[run.seeded.product_id] = replace(used, companion=replace(used.companion, scorer=nan))
        send(log, [NEW])
        run.until_received(1)
        assert [row.verdict for row in run.rows()] == ["review"]
        assert run.rows(shadow_score) == []


def test_the_share_is_drawn_by_part_before_anything_is_scored(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log), scorer=flags_new()) as run:
        old = _watch(run, share=0.4)
        for number in range(60):
            log.append(frame(BOTH if number % 3 else NEITHER), headers(f"f{number}", serial=f"S{number // 2}"))
        run.until_received(60)
        with reading(engine) as conn:
            secret = install_of(conn).secret
        drawn = {f"S{n}" for n in range(30) if keyed_fraction(secret, "watch", f"S{n}") < 0.4}
        rows = run.rows(shadow_score)
        assert 0 < len(drawn) < 30
        assert {row.part for row in rows} == drawn
        assert len(rows) == len(old.seen) == 2 * len(drawn)


def test_audited_parts_keep_their_place_and_frames_without_a_certificate_are_not_compared(
    engine: Engine, tmp_path: Path
) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path, audit={"rate": 1}), MemorySource(log), scorer=flags_new()) as run:
        _watch(run)
        send(log, [NEITHER, OLD])
        run.until_received(2)
        assert {(row.kind, row.watched) for row in run.rows(item)} == {("audit", False)}
        assert len(run.rows(shadow_score)) == 2
        used = run.provider.deployed[run.seeded.product_id]
        run.provider.deployed[run.seeded.product_id] = replace(used, certificate=None)
        send(log, [OLD])
        run.until_received(3)
        assert len(run.rows(shadow_score)) == 2


def test_where_no_model_is_trusted_flags_of_either_are_items_and_nothing_is_judged_by_them(
    engine: Engine, tmp_path: Path
) -> None:
    log = MemoryLog()
    with running(engine, settings(tmp_path), MemorySource(log), scorer=flags_new()) as run:
        _watch(run, judged=False)
        send(log, [NEITHER, NEW, OLD])
        run.until_received(3)
        assert {(row.frame_id, row.watched) for row in run.rows(item)} == {("f1", True), ("f2", True)}
        assert run.rows(shadow_score) == []


@pytest.mark.promise(10)
@pytest.mark.usefixtures("each_database")
def test_a_promotion_that_proves_wrong_is_taken_back_while_frames_flow(engine: Engine, tmp_path: Path) -> None:
    """Promotion, watch, reviews, rollback and both swaps, by the parts that do them in an agent."""
    log, wanted = MemoryLog(), settings(tmp_path)
    with writing(engine) as conn:
        olga = users.add(conn, "olga", "operator", utc_now())
    with running(engine, wanted, MemorySource(log)) as run:
        old, new = Choosy(), flags_new()
        manager = manager_of(run, wanted, {b"artifact": old, b"two": new})
        manager.start()
        run.provider.current = manager.current  # type: ignore[method-assign]
        product_id = run.seeded.product_id

        def deciding() -> tuple[int | None, bool]:
            used = manager.current(product_id)
            assert used is not None
            return used.deployment_id, used.companion is not None

        try:
            send(log, [NEW] * 5)
            run.until_received(5)
            second = seed(engine, run.store, artifact=b"two", watch_share=1.0)
            manager.notice(product_id)
            run.until(lambda: deciding() == (second.deployment_id, True))
            used = manager.current(product_id)
            assert used and used.companion and used.companion.scorer is old  # at hand: nothing is loaded again
            assert share_of(run) == 1.0
            send(log, [NEW] * 20)
            run.until_received(25)
            judge = Judge(engine, Settings(), Noted(), notify=manager.notice)
            judge.check(utc_now())
            assert _live(engine, product_id) == second.deployment_id
            for row in run.rows(item):
                reviews.decide(engine, olga, row.id, "normal", key=f"k{row.id}", now=utc_now())
            judge.check(utc_now())
            third = _live(engine, product_id)
            run.until(lambda: deciding() == (third, False))
            used = manager.current(product_id)
            assert used and used.scorer is old
            assert share_of(run) == 0.0
            send(log, [NEW] * 5)
            run.until_received(30)
        finally:
            manager.stop()
        rows = sorted(run.rows(), key=lambda row: row.offset)
        assert [row.deployment_id for row in rows] == [run.seeded.deployment_id] * 5 + [second.deployment_id] * 20 + [
            third
        ] * 5
        assert [row.verdict for row in rows] == ["pass"] * 5 + ["review"] * 20 + ["pass"] * 5
        assert len(run.rows(shadow_score)) == 20


def _live(engine: Engine, product_id: int) -> int:
    with reading(engine) as conn:
        found = registry.live(conn, product_id)
    assert found is not None
    return found.id
