"""Alerts of a running line: from frames to the database, to the log, and to a webhook."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent import daemon
from agent.alerts import writer as writing_module
from agent.alerts.writer import AlertWriter
from agent.metrics import Metrics
from agent.pipeline import run as pipeline
from agent.pipeline import stalls
from agent.pipeline.provider import Deployed
from agent.settings import utc_now
from agent.sources.memory import MemoryDecisions, MemoryLog, MemorySource
from agent.store import alerts
from agent.store.alerts import Alert
from agent.store.engine import reading, writing
from agent.store.local_blobs import LocalBlobs
from tests.streams import (
    FakeProvider,
    FakeScorer,
    certificate,
    corrupt,
    frame,
    headers,
    running,
    seed,
    settings,
    until,
)

AGENT = f"agent:{socket.gethostname()}"


@contextmanager
def writer(engine: Engine) -> Iterator[AlertWriter]:
    made = AlertWriter(engine, Metrics(), clock=utc_now)
    made.start()
    yield made
    made.close()


def found(engine: Engine) -> list[Alert]:
    with reading(engine) as conn:
        return alerts.recent(conn)


def told(engine: Engine) -> list[tuple[str, str, str]]:
    return [(one.kind, one.subject, one.state) for one in found(engine)]


def test_a_blind_station_is_told_and_its_end_also_by_the_next_agent(engine: Engine, tmp_path: Path) -> None:
    log, blind = MemoryLog(), {"blind_after": 3}
    with writer(engine) as alarms:
        with running(engine, settings(tmp_path, pipeline=blind), MemorySource(log), alarms=alarms) as run:
            for number in range(3):
                log.append(corrupt(), headers(f"x{number}"))
            run.until(lambda: told(engine) == [("station_blind", "station:s1", "open")])
            log.append(frame(), headers("fine"))
            run.until(lambda: told(engine) == [("station_blind", "station:s1", "over")])
            for number in range(5):
                log.append(corrupt(), headers(f"y{number}"))
            # Soon after, so it goes on as the same one.
            run.until(lambda: told(engine) == [("station_blind", "station:s1", "open")])
            run.until_received(9)
        (one,) = found(engine)
        assert (one.n, one.level, one.detail["failures"] in (3, 4, 5)) == (2, "error", True)
        with running(engine, settings(tmp_path, pipeline=blind), MemorySource(log), alarms=alarms, agent="b") as run:
            log.append(frame(), headers("fine again"))
            run.until(lambda: told(engine) == [("station_blind", "station:s1", "over")])


def test_frames_that_the_log_lost_are_told(engine: Engine, tmp_path: Path) -> None:
    log = MemoryLog()
    with writer(engine) as alarms:
        with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
            log.append(frame(), headers("a"))
            run.until_received(1)
        for number in range(5):
            log.append(frame(), headers(f"b{number}"))
        log.truncate(0, 4)
        with running(engine, settings(tmp_path), MemorySource(log), alarms=alarms) as run:
            run.until(lambda: found(engine))
        (one,) = found(engine)
        assert (one.kind, one.subject, one.state) == ("data_gap", "partition:goodpart.frames/0", "open")
        assert one.numbers == {"gap": "below_start", "from_offset": 1, "to_offset": 4}
        log.truncate(0, 6)
        log.append(frame(), headers("c"))
        log.truncate(0, 7)
        wanted = settings(tmp_path, kafka={"on_gap": "stop"})
        with running(engine, wanted, MemorySource(log), alarms=alarms) as run:
            assert run.pipeline.halted.wait(20)
            until(lambda: found(engine)[0].n == 2)
        assert "kafka.on_gap" in found(engine)[0].words


def test_frames_that_stand_still_are_told_until_they_move(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "REPORT_S", 0.02)
    monkeypatch.setattr(pipeline, "STALL_LOOK_S", 0.02)
    monkeypatch.setattr(stalls, "STALL_S", 0.1)
    go = threading.Event()

    class Slow(FakeScorer):
        def score(self, frames: Any) -> Any:
            go.wait(30)
            return super().score(frames)

    log, wanted = MemoryLog(), settings(tmp_path, pipeline={"claim_wait_s": 0.1})
    with (
        writer(engine) as alarms,
        running(engine, wanted, MemorySource(log), scorer=Slow(), alarms=alarms) as run,
    ):
        run.until(lambda: run.pipeline.caught_up)
        log.append(frame(), headers("a"))
        run.until(lambda: told(engine) == [("partition_stalled", "partition:goodpart.frames/0", "open")])
        assert "1 frames of partition 0 of goodpart.frames are in flight" in found(engine)[0].words
        go.set()
        run.until(lambda: told(engine) == [("partition_stalled", "partition:goodpart.frames/0", "over")])


def test_an_agent_behind_its_log_or_without_a_dependency_says_no_station_is_silent(
    engine: Engine, tmp_path: Path
) -> None:
    log = MemoryLog()
    go = threading.Event()

    class Slow(FakeScorer):
        def score(self, frames: Any) -> Any:
            go.wait(30)
            return super().score(frames)

    wanted = settings(tmp_path, pipeline={"queue_frames": 2})
    with running(engine, wanted, MemorySource(log), scorer=Slow()) as run:
        run.until(lambda: run.pipeline.caught_up)
        run.health.dependency("database", "away")
        assert not run.pipeline.caught_up
        run.health.dependency("database", None)
        for number in range(20):
            log.append(frame(), headers(f"f{number}"))
        run.until(lambda: not run.pipeline.caught_up)
        go.set()
        run.until(lambda: run.pipeline.caught_up)


def test_the_breaker_is_in_the_database_before_the_agent_ends_and_the_next_one_posts_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, posted = MemoryLog(), []
    ending, close = threading.Event(), AlertWriter.close

    def slowly(engine: Engine) -> Any:
        ending.wait(20)
        return writing(engine)

    def closed(self: AlertWriter) -> None:
        ending.set()
        close(self, 20)

    monkeypatch.setattr(writing_module, "writing", slowly)
    monkeypatch.setattr(AlertWriter, "close", closed)
    log.append(frame(), headers("a"))
    seeded = seed(engine, LocalBlobs(tmp_path / "blobs"))
    scorer = FakeScorer(broken=True, artifact_sha256=seeded.artifact_sha256)
    provider = FakeProvider(
        {seeded.product_id: Deployed(seeded.deployment_id, scorer, certificate(seeded.artifact_sha256))}
    )

    def wiring() -> daemon.Wiring:
        return daemon.Wiring(provider=provider, source=MemorySource(log), sink=MemoryDecisions(), retrain=None)

    with pytest.raises(daemon.DaemonError):
        daemon.run(settings(tmp_path, alerts={"disk_free_gb": 0}), wiring=wiring())
    (one,) = found(engine)
    assert (one.kind, one.subject, one.state, one.n) == ("breaker", AGENT, "open", 1)
    assert "scoring engine fails on every product" in one.words

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    scorer.broken = False
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = threading.Thread(target=server.serve_forever, args=(0.02,))
        receiver.start()
        stop = threading.Event()
        hook = {"webhook": f"http://127.0.0.1:{server.server_address[1]}/x", "disk_free_gb": 0}
        agent = threading.Thread(
            target=daemon.run, args=(settings(tmp_path, alerts=hook),), kwargs={"stop": stop, "wiring": wiring()}
        )
        agent.start()
        try:
            until(lambda: posted)
            until(lambda: found(engine)[0].sent_at)
        finally:
            stop.set()
            agent.join(30)
            server.shutdown()
            receiver.join()
    (body,) = posted
    assert [alert["kind"] for alert in body["alerts"]] == ["breaker"]
    assert body["text"].startswith("breaker: ")
