"""Plugs pulled in the middle of the stream: nothing is lost, nothing is decided twice. Real servers, no torch."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine

from agent.demo.broker import KafkaBroker, create_topics
from agent.settings import Kafka
from agent.store import offsets
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import Counts
from agent.store.score_bins import bin_of
from agent.store.tables import dead_letter, inspection, item, score_bin
from tests import databases
from tests.crash.plant import DECISIONS, FRAMES, PARTITIONS, Agent, decisions, publish, rows, totals
from tests.databases import database
from tests.postgresql import PostgreSQL
from tests.streams import DEFECT, GOOD, frame, seed, until

both = pytest.mark.usefixtures("each_database")


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with KafkaBroker() as broker:
        create_topics(Kafka(bootstrap=broker.bootstrap), {FRAMES: PARTITIONS, DECISIONS: 1})
        yield broker.bootstrap


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with database(tmp_path) as opened:
        seed(opened, LocalBlobs(tmp_path / "blobs"))
        yield opened


@pytest.mark.promise(1, 9)
@both
def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    n = 600
    publish(bootstrap, range(n // 2))
    first = Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="0.004")
    try:
        until(lambda: totals(engine).received >= 60, check=first.check)
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        in_the_middle = totals(engine)
        assert in_the_middle.received < n // 2
        assert in_the_middle.balanced
    finally:
        first.end(signal.SIGKILL)

    publish(bootstrap, range(n // 2, n))
    second = Agent(tmp_path, bootstrap, engine)
    try:
        until(lambda: totals(engine).received >= n, 40, check=second.check)
        ids = decisions(bootstrap, n)
        assert second.end(signal.SIGTERM) == 0, second.said()
    finally:
        second.end(signal.SIGKILL)

    assert totals(engine) == Counts(n, inspected=n * 8 // 10, not_inspected=n // 10, dead_lettered=n // 10)
    inspected = Counter(row.frame_id for row in rows(engine, inspection))
    assert inspected == {f"f{number}": 1 for number in range(n) if number % 10 != 7}
    assert len(set(ids)) == n
    assert sum(row.counted for row in rows(engine, dead_letter)) == n // 10
    scored = [row for row in rows(engine, inspection) if row.severity is not None]
    assert len(scored) == n * 8 // 10
    bins = Counter((row.event_at.date(), bin_of(row.severity)) for row in scored)
    assert {(row.day, row.bin): row.n for row in rows(engine, score_bin)} == bins
    store = LocalBlobs(tmp_path / "blobs")
    shown = rows(engine, item)
    assert {row.kind for row in shown} == {"flagged", "failed"}
    for row in shown:
        for name in ("frame_sha256", "heatmap_sha256", "preview_sha256", "overlay_sha256", "thumbnail_sha256"):
            if sha256 := getattr(row, name):
                assert store.get(sha256)


@pytest.mark.promise(6)
def test_sigterm_drains_and_the_next_agent_goes_on(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    publish(bootstrap, range(200))
    first = Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="0.01")
    try:
        until(lambda: totals(engine).received > 0, check=first.check)
        (started,) = [one for one in first.events() if one["event"] == "agent_started"]
        with contextlib.suppress(URLError):
            assert json.load(urlopen(f"http://{started['http']}/livez")) == {"ok": True, "problems": {}}
        assert first.end(signal.SIGTERM) == 0, first.said()
        assert "drained" in {one["event"] for one in first.events()}
        done = totals(engine).received
        assert done < 200
        assert len(set(decisions(bootstrap, done))) == done
    finally:
        first.end(signal.SIGKILL)
    second = Agent(tmp_path, bootstrap, engine)
    try:
        until(lambda: totals(engine).received >= 200, 40, check=second.check)
        assert second.end(signal.SIGTERM) == 0
    finally:
        second.end(signal.SIGKILL)
    assert totals(engine).received == 200
    assert len(set(decisions(bootstrap, 200))) == 200


def test_kill_9_of_a_line_without_kafka(tmp_path: Path, engine: Engine) -> None:
    n, spool = 300, tmp_path / "spool"
    station = spool / "incoming" / "s1"
    station.mkdir(parents=True)
    for number in range(n):
        (station / ".draft").write_bytes(frame(DEFECT if number % 10 == 3 else GOOD))
        (station / ".draft").rename(station / f"{number:04}.png")
    given = {"GOODPART_SOURCE__KIND": "directory", "GOODPART_SOURCE__DIRECTORY": str(spool)}
    for least in (60, 150, n):
        agent = Agent(tmp_path, "", engine, SCORING_DELAY_S="0.004", **given)
        try:
            until(lambda least=least, agent=agent: totals(engine).received >= least, 40, check=agent.check)  # type: ignore[misc]
        finally:
            agent.end(signal.SIGTERM if least == n else signal.SIGKILL)
        assert totals(engine).balanced
    assert totals(engine) == Counts(n, inspected=n)
    assert Counter(row.frame_id for row in rows(engine, inspection)).most_common(1)[0][1] == 1
    assert len(list((spool / "decisions").glob("*.json"))) == n
    assert list(station.iterdir()) == []


@pytest.mark.promise(8)
def test_a_database_that_stops_and_comes_back_loses_nothing(
    tmp_path: Path, bootstrap: str, postgresql_server: PostgreSQL
) -> None:
    n = 400
    with databases.on(postgresql_server), database(tmp_path) as engine:
        seed(engine, LocalBlobs(tmp_path / "blobs"))
        publish(bootstrap, range(n))
        agent = Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="0.004")
        try:
            until(lambda: totals(engine).received >= 40, check=agent.check)
            postgresql_server.stop()
            until(lambda: "dependency_down" in agent.said(), check=agent.check)
            postgresql_server.start()
            until(lambda: totals(engine).received >= n, 60, check=agent.check)
            assert len(set(decisions(bootstrap, n))) == n
            assert agent.end(signal.SIGTERM) == 0, agent.said()
        finally:
            postgresql_server.stop()
            postgresql_server.start()
            agent.end(signal.SIGKILL)
        assert totals(engine) == Counts(n, inspected=n * 8 // 10, not_inspected=n // 10, dead_lettered=n // 10)
        assert len(rows(engine, inspection)) == n * 9 // 10


def test_systemd_hears_that_the_agent_is_ready_lives_and_stops(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(40)
        given = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000"}
        agent = Agent(tmp_path, bootstrap, engine, **given)
        try:
            heard: list[bytes] = []
            until(lambda: heard.append(manager.recv(200)) or b"READY=1" in heard[-1], 40, check=agent.check)  # type: ignore[func-returns-value]
            assert manager.recv(200) == b"WATCHDOG=1"
            assert agent.end(signal.SIGTERM) == 0, agent.said()
        finally:
            agent.end(signal.SIGKILL)
        until(lambda: b"STOPPING=1" in manager.recv(200))


@pytest.mark.promise(6)
def test_a_second_signal_ends_at_once_and_nothing_is_lost(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    publish(bootstrap, range(4))
    first = Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="60")
    try:
        until(lambda: "partition_claimed" in first.said(), check=first.check)
        first.process.send_signal(signal.SIGTERM)
        until(lambda: "agent_draining" in first.said(), check=first.check)
        assert first.end(signal.SIGTERM) == 128 + signal.SIGTERM
    finally:
        first.end(signal.SIGKILL)
    assert totals(engine) == Counts()


@pytest.mark.promise(6)
def test_sigterm_is_heard_from_the_first_word_on(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    agent = Agent(tmp_path, bootstrap, engine)
    try:
        while "agent_starting" not in agent.said():  # without a pause: what it waits for may take a millisecond
            agent.check()
        assert agent.end(signal.SIGTERM) == 0, agent.said()
    finally:
        agent.end(signal.SIGKILL)


@pytest.mark.promise(6)
def test_sigterm_ends_in_time_though_scoring_does_not(tmp_path: Path, bootstrap: str, engine: Engine) -> None:
    publish(bootstrap, range(4))
    agent = Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="60", GOODPART_PIPELINE__DRAIN_S="11")
    try:
        until(lambda: "partition_claimed" in agent.said(), check=agent.check)
        assert agent.end(signal.SIGTERM, within_s=25) == 0, agent.said()
        assert {"drain_incomplete", "agent_stopped"} <= {one["event"] for one in agent.events()}
    finally:
        agent.end(signal.SIGKILL)
    assert totals(engine).inspected == 0


@pytest.mark.promise(5)
def test_an_engine_that_breaks_ends_the_agent_and_the_next_one_goes_on(
    tmp_path: Path, bootstrap: str, engine: Engine
) -> None:
    n = 100
    publish(bootstrap, range(n))
    first = Agent(tmp_path, bootstrap, engine, BREAKS_AFTER="2")
    try:
        until(lambda: first.process.poll() is not None)
        assert first.end(signal.SIGKILL) == 1, first.said()
        assert "the scoring engine fails on every product" in first.said()
        assert totals(engine).balanced
        assert totals(engine).received < n
        assert "model_error" not in {row.reason for row in rows(engine, inspection)}
    finally:
        first.end(signal.SIGKILL)
    second = Agent(tmp_path, bootstrap, engine)
    try:
        until(lambda: totals(engine).received >= n, 40, check=second.check)
        assert len(set(decisions(bootstrap, n))) == n
        assert second.end(signal.SIGTERM) == 0, second.said()
    finally:
        second.end(signal.SIGKILL)
    assert totals(engine) == Counts(n, inspected=n * 8 // 10, not_inspected=n // 10, dead_lettered=n // 10)


@pytest.mark.promise(2)
@both
def test_two_agents_share_the_partitions_and_one_takes_over_from_the_other(
    tmp_path: Path, bootstrap: str, engine: Engine
) -> None:
    agents = [Agent(tmp_path, bootstrap, engine, SCORING_DELAY_S="0.005") for _ in range(2)]
    try:

        def claims() -> int:
            with reading(engine) as conn:
                return len({one.holder for one in offsets.partitions(conn)})

        def check() -> None:
            for one in agents:
                one.check()

        until(lambda: claims() == 2, 40, check=check)
        publish(bootstrap, range(300))
        until(lambda: totals(engine).received >= 40)
        agents[0].end(signal.SIGKILL)
        until(lambda: totals(engine).received >= 300, 60, check=agents[1].check)
        assert len(set(decisions(bootstrap, 300))) == 300
        assert agents[1].end(signal.SIGTERM) == 0
    finally:
        for one in agents:
            one.end(signal.SIGKILL)
    assert totals(engine).received == 300
    assert totals(engine).balanced
    assert len(rows(engine, inspection)) == 270
