"""The way of a frame over a log in memory: every outcome of the stream, each recorded once and told once."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from sqlalchemy import Engine
from structlog.testing import capture_logs

from agent.frame import DataRef, RawFormat
from agent.live import Glance, NoLive
from agent.pipeline.provider import Deployed
from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import offsets, products, stations
from agent.store.engine import reading, writing
from agent.store.item_vectors import SIDE
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.tables import blob, dead_letter, item, item_vector, rollup_minute
from model.images import InputSpec, decode, pixels_sha256
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
)


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
        assert counts == Counts(12, inspected=3, not_inspected=4, dead_lettered=4, duplicate=1)
        assert counts.balanced
        found = {row.frame_id: (row.verdict, row.reason) for row in run.rows()}
        assert found == {
            "good": ("pass", None),
            "bad": ("review", None),
            "raw": ("pass", None),
            "torn": ("not_inspected", "undecodable"),
            "old": ("not_inspected", "too_old"),
            "big": ("not_inspected", "too_large"),
            "short": ("not_inspected", "wrong_size"),
        }
        assert all(row.deployment_id == run.seeded.deployment_id for row in run.rows() if row.verdict == "pass")
        letters = run.rows(dead_letter)
        assert Counter((row.reason, row.counted) for row in letters) == {
            ("bad_header", True): 4,
            ("undecodable", False): 1,
            ("too_large", False): 1,
            ("wrong_size", False): 1,
        }
        assert sum(row.blob_sha256 is not None for row in letters) == 6  # all but the empty one
        assert Counter(row.reason for row in letters if row.made) == {"bad_header": 4, "too_large": 1}
        # Also a station that nobody registered is named, to people and to the line.
        assert Counter(row.station for row in letters) == {"s1": 4, "nowhere": 1, None: 2}
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
        assert Counter(one["station"] for one in said) == {"s1": 8, "nowhere": 1, None: 2}
        assert flagged["score"] == pytest.approx(2.5)
        assert flagged["p_value"] == pytest.approx(1 / 101)
        head = dict(run.sink.published[0].headers)
        assert head["ce_type"] == b"goodpart.decision.v1"
        assert head["ce_id"].decode() == f"{log.key.topic_id}/0/0" or head["ce_id"].decode().endswith("/1/0")
        rolled = run.rows(rollup_minute)
        assert sum(row.n_pass for row in rolled) == 2
        assert sum(row.n_not_inspected for row in rolled) == 4
        with reading(engine) as conn:
            assert all(one.counts.balanced for one in offsets.partitions(conn))


@pytest.mark.promise(5)
def test_frames_by_reference(engine: Engine, tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path / "blobs")
    log = MemoryLog(2)
    (tmp_path / "blobs").mkdir()

    def refer(name: str, data: bytes, *, put: bytes | None = None, uri: str = "", size: int = 0) -> None:
        if put is not None:
            (tmp_path / "blobs" / name).write_bytes(put)
        ref = DataRef(uri or f"{store.location}/{name}", hashlib.sha256(data).hexdigest(), size or len(data))
        log.append(b"", headers(name, dataref=ref))

    good, bad = frame(GOOD), frame(DEFECT)
    refer("there", good, put=good)
    refer("flagged", bad, put=bad)
    refer("torn", good, put=bytes(reversed(good)))
    refer("short", good, put=good[:-1])
    refer("elsewhere", good, uri="s3://bucket/there")
    refer("huge", good, put=good, size=2 << 20)
    refer("late", good)
    (tmp_path / "blobs" / "loop").symlink_to("loop")
    for name, key in (("never", "never"), ("loop", "loop"), ("again", "loop"), ("long", "x" * 300)):
        log.append(b"", headers(name, dataref=DataRef(f"{store.location}/{key}", "0" * 64, 9)), partition=1)
    log.append(good, headers("behind"), partition=1)
    wanted = settings(tmp_path, pipeline={"max_frame_mb": 1, "claim_wait_s": 2})
    with running(engine, wanted, MemorySource(log)) as run:
        run.until_received(6)
        (tmp_path / "blobs" / "late").write_bytes(good)
        assert run.until_received(12) == Counts(12, inspected=4, not_inspected=6, dead_lettered=2)
        assert not run.health.outages
        assert {row.frame_id: (row.verdict, row.reason) for row in run.rows()} == {
            "there": ("pass", None),
            "flagged": ("review", None),
            "torn": ("not_inspected", "claim_corrupt"),
            "short": ("not_inspected", "claim_corrupt"),
            "huge": ("not_inspected", "too_large"),
            "late": ("pass", None),
            **dict.fromkeys(("never", "loop", "again"), ("not_inspected", "claim_missing")),
            "behind": ("pass", None),
        }
        assert all(row.made for row in run.rows(dead_letter)), "what is wrong with a reference is ours to say"
        (shown,) = run.rows(item)
        assert run.store.get(shown.frame_sha256) == bad
        run.until(lambda: run.pipeline.stats().in_flight == 0)
        assert run.pipeline.held_bytes == 0


def test_flagged_frames_have_all_their_evidence(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    sent = frame(DEFECT, side=2000)
    named = [*headers("bad"), ("X-Lamp", b"7\0")]
    log.append(sent, named)
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
        (row,) = run.rows(item)
        assert row.headers == [[name, text.decode()] for name, text in named]
        assert run.store.get(row.frame_sha256) == sent
        heatmap = np.load(io.BytesIO(run.store.get(row.heatmap_sha256)), allow_pickle=False)
        assert (heatmap.dtype, heatmap.shape) == (np.float16, (512, 512))
        assert row.pixels_sha256 == pixels_sha256(decode(sent))
        for name, side in (("preview_sha256", 1600), ("overlay_sha256", 1600), ("thumbnail_sha256", 256)):
            assert decode(run.store.get(getattr(row, name))).shape == (side, side, 3)
        assert {one.state for one in run.rows(blob)} == {"stored"}


def test_only_what_is_kept_has_a_vector(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    for number, sent in enumerate((frame(GOOD), frame(DEFECT), frame(POISON), corrupt())):
        log.append(sent, headers(f"f{number}"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(4)
        kept = {one.id: one.frame_id for one in run.rows(item)}
        assert set(kept.values()) == {"f1", "f2", "f3"}
        (row,) = run.rows(item_vector)
        assert (kept[row.item_id], row.space) == ("f1", run.scorer.space)
        np.testing.assert_allclose(np.frombuffer(row.features, "<f2"), [0.6, 0.8], atol=1e-3)
        assert np.frombuffer(row.heatmap, np.uint8).reshape(SIDE, SIDE).argmax(1).tolist() == list(range(SIDE))
        assert 0 <= row.low < row.high <= 1
        run.until(lambda: run.pipeline.stats().in_flight == 0)


def test_raw_frames_are_kept_as_pictures_that_can_be_read_again(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    raw = RawFormat(8, 4, "Mono8")
    log.append(bytes([DEFECT]) * 32, headers("r", content_type="application/x-goodpart-raw", raw=raw))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(1)
        (row,) = run.rows(item)
        shown = decode(run.store.get(row.frame_sha256))
        assert (shown == DEFECT).all() and row.pixels_sha256 == pixels_sha256(shown)


def test_the_live_view_gets_a_picture_of_a_frame_that_nobody_has_to_see(engine: Engine, tmp_path: Path) -> None:
    log, shown = MemoryLog(), dict[str, Glance]()

    class Wall(NoLive):
        def show(self, place: str, glance: Glance) -> None:
            shown[place] = glance

    wall = Wall()
    wall.available = True
    log.append(frame(GOOD), headers("f0"))
    with running(engine, settings(tmp_path), MemorySource(log), live=wall) as run:
        run.until_received(1)
        (row,) = run.rows()
        assert run.rows(item) == []
        (glance,) = shown.values()
        assert (glance.at, glance.heatmap, decode(glance.webp).shape) == (row.event_at, True, (24, 24, 3))
        run.until(lambda: run.pipeline.held_bytes == 0)


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


@pytest.fixture
def debugging() -> Iterator[None]:
    """Every line is logged."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("debug"))
    yield
    structlog.configure(wrapper_class=before)


@pytest.mark.usefixtures("debugging")
def test_the_log_says_which_frame_it_speaks_of(engine: Engine, tmp_path: Path) -> None:
    frames = MemoryLog()
    frames.append(frame(POISON), headers("bad", station="nowhere"))
    frames.append(frame(POISON), headers("poison"))
    with capture_logs() as said, running(engine, settings(tmp_path), MemorySource(frames)) as run:
        run.until_received(2)
        run.until(lambda: sum(one["event"] == "frame_recorded" for one in said) == 2)
    lines = {(one["event"], one["offset"]): one for one in said if one["event"].startswith("frame_")}
    assert set(lines) == {("frame_recorded", 0), ("frame_failed_in_model", 1), ("frame_recorded", 1)}
    assert all((one["topic"], one["partition"]) == (frames.key.topic, 0) for one in lines.values())
    assert (lines["frame_recorded", 0]["verdict"], lines["frame_recorded", 0]["frame_id"]) == ("dead_letter", "bad")
    for one in ("frame_failed_in_model", "frame_recorded"):
        assert (lines[one, 1]["frame_id"], lines[one, 1]["station"]) == ("poison", "s1")


def test_evidence_shows_a_letterboxed_region_where_it_lies(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(DEFECT, side=100), headers("bad"))
    scorer = FakeScorer(spec=InputSpec(64, 64, fit="letterbox", region=(0.5, 0.5, 1.0, 0.75)))
    with running(engine, settings(tmp_path), MemorySource(log), scorer=scorer) as run:
        run.until_received(1)
        (row,) = run.rows(item)
        heatmap = np.load(io.BytesIO(run.store.get(row.heatmap_sha256)), allow_pickle=False)
        assert heatmap.shape == (100, 100)
        rows, columns = np.nonzero(heatmap > 0.2)  # the map's diagonal, cut to what the region shows
        assert (rows.min(), rows.max()) == (50, 74)
        assert columns.min() > 55
        assert columns.max() < 95
        overlay = decode(run.store.get(row.overlay_sha256))
        assert np.abs(overlay[:45].astype(int) - DEFECT).max() < 8  # what is not inspected has no colour
