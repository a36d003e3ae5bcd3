"""Two agents on PostgreSQL, each with a partition: what one commits, the other's transaction may not have seen."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from agent.sources.memory import MemoryLog, MemorySource
from agent.store import seen
from agent.store.offsets import Counts
from tests import databases
from tests.postgresql import PostgreSQL
from tests.streams import frame, headers, running, settings


@pytest.fixture
def engine(postgresql_server: PostgreSQL, tmp_path: Path) -> Iterator[Engine]:
    with databases.on(postgresql_server), databases.database(tmp_path) as opened:
        yield opened


def test_a_frame_that_two_agents_commit_at_once_has_one_decision(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that sends without a key, or a topic that got more partitions: its second try lies beside the first."""
    log, both, looked = MemoryLog(2), threading.Barrier(2), set[int]()
    already = seen.already

    def look(conn: Connection, pairs: Collection[tuple[int, str]], since: datetime) -> set[tuple[int, str]]:
        found = already(conn, pairs, since)
        if threading.get_ident() not in looked:
            looked.add(threading.get_ident())
            both.wait(30)  # neither has committed, and neither will see the other's
        return found

    monkeypatch.setattr(seen, "already", look)
    sources = [MemorySource(log, auto=False) for _ in range(2)]
    wanted = settings(tmp_path)
    with (
        running(engine, wanted, sources[0], agent="a") as one,
        running(engine, wanted, sources[1], agent="b") as other,
    ):
        for partition, source in enumerate(sources):
            log.append(frame(), headers("same"), partition=partition)
            source.assign([partition])
        assert one.until_received(2) == Counts(2, inspected=1, duplicate=1)
        one.until(lambda: len(one.sink.published) + len(other.sink.published) == 1)
        assert [row.frame_id for row in one.rows()] == ["same"]
        assert not other.health.outages
