"""A running line notes how far behind it is and how long its frames take."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import offsets, speed
from agent.store.engine import reading
from tests.streams import DEFECT, corrupt, frame, headers, running, settings


def test_every_frame_passes_each_stage_once(engine: Engine, tmp_path: Path) -> None:
    log, began = MemoryLog(), utc_now() - timedelta(minutes=1)
    for n, value in enumerate((frame(), frame(), frame(DEFECT), corrupt())):
        log.append(value, headers(f"f{n}"))
    log.append(frame(), headers("f0"))  # a duplicate has no decision
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(5)
        run.until(lambda: len(run.sink.published) == 4)
        run.until(lambda: run.pipeline.stats().lag == 0)
        scrape = run.metrics.text().decode()
    with reading(engine) as conn:
        found = speed.latencies(conn, began)
        lags = speed.lags(conn, began)
        (state,) = offsets.partitions(conn)
    assert {stage: one.n for stage, one in found.items()} == {
        "decode": 5, "score": 4, "evidence": 2, "record": 5, "decision": 4,
    }  # fmt: skip
    assert all(0 <= one.p50 <= one.p95 < 60_000 for one in found.values())
    assert [lag for _, lag in lags[state.stream_id, 0]][-1] == 0
    assert 'goodpart_stage_seconds_count{stage="record"}' in scrape
