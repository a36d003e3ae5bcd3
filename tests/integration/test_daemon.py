"""The daemon as a whole: what it refuses to start with, how it fails, and every outcome over a real broker."""

from __future__ import annotations

import json
import os
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import sqlalchemy as sa
from kafka import KafkaProducer
from sqlalchemy import Engine

from agent import daemon
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.redis import RedisServer
from agent.health import HealthError
from agent.live import RedisLive
from agent.pipeline.provider import Deployed
from agent.pipeline.stats import read_line
from agent.settings import Kafka, Settings, utc_now
from agent.sources.base import SourceError, SourceUnreachableError
from agent.sources.memory import MemoryDecisions, MemoryLog, MemorySource
from agent.store import buckets, dead_letters, offsets, products, stations, trends
from agent.store.blobs import keep
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.errors import DatabaseBehind
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.tables import rollup_minute, stream
from tests.streams import (
    DEFECT,
    FakeProvider,
    FakeScorer,
    certificate,
    corrupt,
    frame,
    headers,
    seed,
    settings,
    until,
)


def _provider(engine: Engine, folder: Path, scorer: FakeScorer | None = None) -> FakeProvider:
    seeded = seed(engine, LocalBlobs(folder / "blobs"))
    made = scorer or FakeScorer()
    made.artifact_sha256 = seeded.artifact_sha256
    return FakeProvider({seeded.product_id: Deployed(seeded.deployment_id, made, certificate(seeded.artifact_sha256))})


class Run(threading.Thread):
    """A daemon in a thread of this process."""

    def __init__(self, wanted: Settings, wiring: daemon.Wiring) -> None:
        super().__init__(daemon=True)
        self.wanted, self.wiring = wanted, wiring
        self.stop = threading.Event()
        self.code: int | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.code = daemon.run(self.wanted, stop=self.stop, wiring=self.wiring)
        except Exception as error:
            self.error = error

    def check(self) -> None:
        assert self.error is None, repr(self.error)

    def end(self) -> int | None:
        self.stop.set()
        self.join(30)
        self.check()
        return self.code


def test_every_outcome_over_a_real_broker(engine: Engine, tmp_path: Path) -> None:
    with KafkaBroker() as broker, RedisServer() as redis:
        create_topics(Kafka(bootstrap=broker.bootstrap), {"frames": 2, "decisions": 1})
        wanted = settings(
            tmp_path,
            kafka={"bootstrap": broker.bootstrap, "frames_topic": "frames", "decisions_topic": "decisions"},
            redis={"url": redis.url},
            pipeline={"max_frame_mb": 1},
        )
        sink = MemoryDecisions()
        agent = Run(wanted, daemon.Wiring(provider=_provider(engine, tmp_path), sink=sink, retrain=None))
        agent.start()
        producer = KafkaProducer(
            bootstrap_servers=broker.bootstrap, acks="all", enable_idempotence=False, max_request_size=4 << 20
        )
        sent: list[tuple[bytes, Any]] = [
            (frame(), headers("good")),
            (frame(DEFECT), headers("bad")),
            (frame(), [("ce_specversion", b"0.3"), ("ce_source", b"s1")]),
            (frame(), []),
            (frame(), headers("x", station="nowhere")),
            (corrupt(), headers("torn")),
            (frame(), headers("good")),
            (frame(), headers("old", captured_at=utc_now() - timedelta(hours=3))),
            (os.urandom((1 << 20) + 1), headers("big")),
            (frame(), [("id", b"plain"), ("station", b"s2"), ("serial", b"S-9")]),
        ]
        for value, head in sent:
            producer.send("frames", value=value, headers=head, key=b"s1")
        producer.flush(10)
        producer.close()
        live = RedisLive(redis.url)
        try:
            until(lambda: read_line(engine, live).counts.received >= 10, check=agent.check)
            until(lambda: len(sink.published) == 9, check=agent.check)
            until(lambda: read_line(engine, live).lag == 0, check=agent.check)
            line = read_line(engine, live)
            assert line.counts == Counts(10, inspected=3, not_inspected=3, dead_lettered=3, duplicate=1)
            assert line.balanced
            assert (line.flagged, line.agents, line.ready) == (1, 1, 1)
            assert line.p99_ms is not None
            assert {one["verdict"] for one in live.recent(20)} == {"pass", "review", "not_inspected"}
        finally:
            live.close()
        assert agent.end() == 0
        assert {json.loads(one.value)["reason"] for one in sink.published} == {
            None, "bad_header", "undecodable", "too_old", "too_large",
        }  # fmt: skip


@pytest.mark.promise(7)
def test_health_is_served_and_the_retraining_is_started_and_stopped(engine: Engine, tmp_path: Path) -> None:
    class Retraining:
        stopped = False

        def stop(self) -> None:
            self.stopped = True

    started = Retraining()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = MemoryLog()
    log.append(frame(), headers("a"))
    wiring = daemon.Wiring(
        provider=_provider(engine, tmp_path),
        source=MemorySource(log),
        sink=MemoryDecisions(),
        retrain=lambda settings, engine, live, clock: started,
    )
    agent = Run(settings(tmp_path, agent={"port": port}), wiring)
    agent.start()

    def ready() -> bool:
        agent.check()
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
                return bool(json.load(answer)["ok"])
        except OSError:
            return False

    until(ready)
    until(lambda: _received(engine) == 1)

    def measured() -> bool:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return b'goodpart_frames_total{outcome="inspected"} 1.0' in answer.read()

    until(measured)
    assert agent.end() == 0
    assert started.stopped


def test_old_evidence_is_let_go_and_swept_beside_the_frames(engine: Engine, tmp_path: Path) -> None:
    provider, store = _provider(engine, tmp_path), LocalBlobs(tmp_path / "blobs")
    before = utc_now() - timedelta(days=3)
    old = keep(engine, store, b"old", "image/png", before)
    with writing(engine) as conn:
        letter = NewDeadLetter(1, 0, 0, None, "bad_header", "", [], old, old, True, before)
        conn.execute(sa.insert(stream).values(id=1, cluster_id="c", topic_id="t", topic="t", created_at=before))
        dead_letters.add_all(conn, [letter])
    wiring = daemon.Wiring(provider=provider, source=MemorySource(MemoryLog()), sink=MemoryDecisions(), retrain=None)
    agent = Run(settings(tmp_path, retention={"evidence_days": 1}), wiring)
    agent.start()
    until(lambda: store.size(old) is None, check=agent.check)
    assert agent.end() == 0
    with reading(engine) as conn:
        (kept,) = dead_letters.recent(conn)
        assert (kept.blob_sha256, kept.value_sha256) == (None, old)


def test_rows_older_than_the_hot_window_go_while_it_runs(engine: Engine, tmp_path: Path) -> None:
    provider = _provider(engine, tmp_path)
    with reading(engine) as conn:
        place = {"station_id": stations.named(conn, "s1").id, "product_id": products.named(conn, "flange").id}
    ages = [timedelta(days=6), timedelta(days=8)]
    with writing(engine) as conn:
        counted = {f"n_{verdict}": 1 for verdict in trends.VERDICTS} | {"n_late": 0, "sum_latency_ms": 0.0}
        for age in ages:
            start = buckets.minute(utc_now() - age)
            conn.execute(sa.insert(rollup_minute).values(**place, **counted, start=start, lot="", deployment_id=0))
    source = MemorySource(MemoryLog())
    wiring = daemon.Wiring(provider=provider, source=source, sink=MemoryDecisions(), retrain=None)
    agent = Run(settings(tmp_path, retention={"minutes_days": 7}), wiring)
    agent.start()

    def left() -> int:
        with reading(engine) as conn:
            return int(conn.execute(sa.select(sa.func.count()).select_from(rollup_minute)).scalar_one())

    until(lambda: left() == 1, check=agent.check)
    assert agent.end() == 0


@pytest.mark.promise(5)
def test_a_broken_engine_ends_the_daemon_with_a_line_and_the_next_start_goes_on(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("a"))
    scorer = FakeScorer(broken=True)
    provider = _provider(engine, tmp_path, scorer)
    wiring = daemon.Wiring(provider=provider, source=MemorySource(log), sink=MemoryDecisions(), retrain=None)
    with pytest.raises(daemon.DaemonError, match="scoring engine fails on every product"):
        daemon.run(settings(tmp_path), wiring=wiring)
    assert _received(engine) == 0
    scorer.broken = False
    wiring = daemon.Wiring(provider=provider, source=MemorySource(log), sink=MemoryDecisions(), retrain=None)
    agent = Run(settings(tmp_path), wiring)
    agent.start()
    until(lambda: _received(engine) == 1, check=agent.check)
    assert agent.end() == 0


def test_it_says_what_is_missing_before_it_starts(engine: Engine, tmp_path: Path) -> None:
    provider = _provider(engine, tmp_path)
    wiring = daemon.Wiring(provider=provider, retrain=None)
    away = {"bootstrap": "127.0.0.1:1"}
    with pytest.raises(SourceUnreachableError, match=r"kafka\.bootstrap"):
        daemon.run(settings(tmp_path, kafka=away), wiring=wiring)
    with KafkaBroker() as broker, pytest.raises(SourceError, match=r"kafka\.frames_topic"):
        daemon.run(settings(tmp_path, kafka={"bootstrap": broker.bootstrap}), wiring=wiring)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HealthError, match=r"agent\.port"):
            daemon.run(settings(tmp_path, agent={"port": taken.getsockname()[1]}), wiring=wiring)
    with pytest.raises(DatabaseBehind, match="goodpart db upgrade"):
        daemon.run(settings(tmp_path, database={"url": f"sqlite:///{tmp_path / 'empty.db'}"}), wiring=wiring)


def test_an_agent_ends_where_the_database_is_moved_under_it(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    log.append(frame(), headers("a"))
    provider = _provider(engine, tmp_path)
    agent = Run(
        settings(tmp_path),
        daemon.Wiring(provider=provider, source=MemorySource(log), sink=MemoryDecisions(), retrain=None),
    )
    agent.start()
    until(lambda: _received(engine) == 1, check=agent.check)
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    log.append(frame(), headers("b"))
    agent.join(30)
    assert isinstance(agent.error, daemon.DaemonError)
    assert "install a newer one" in str(agent.error)
    assert _received(engine) == 1


def _received(engine: Engine) -> int:
    with reading(engine) as conn:
        return offsets.totals(conn).received
