"""The bytes of failed frames are kept within a quota that neither a restart nor another agent begins anew."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.pipeline.provider import Deployed
from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.tables import dead_letter, item
from tests.streams import Running, certificate, corrupt, frame, headers, running, settings

pytestmark = pytest.mark.usefixtures("each_database")
QUOTA = 3
HALF_PAST = utc_now().replace(minute=30)  # no hour begins while a test runs


def _fail(log: MemoryLog, run: Running, name: str, *, station: str = "s1", partition: int = 0) -> None:
    before = run.totals().received
    for number in range(2):
        log.append(corrupt(), headers(f"{name}{number}", station=station), partition=partition)
    run.until_received(before + 2)


def test_a_restart_and_another_agent_go_on_with_the_quota_of_the_hour(engine: Engine, tmp_path: Path) -> None:
    log, wanted = MemoryLog(2), settings(tmp_path, blobs={"failed_per_hour": QUOTA}, pipeline={"blind_after": 99})
    first, second, third = (MemorySource(log, auto=False) for _ in range(3))
    with running(engine, wanted, first, agent="a", clock=lambda: HALF_PAST) as run:
        first.assign([0])
        _fail(log, run, "torn")
        _fail(log, run, "lost", station="nowhere")
    with (
        running(engine, wanted, second, agent="b", clock=lambda: HALF_PAST) as run,
        running(engine, wanted, third, agent="c", clock=lambda: HALF_PAST) as beside,
    ):
        second.assign([0])
        third.assign([1])
        _fail(log, run, "more", station="s1")
        _fail(log, beside, "beside", station="s1", partition=1)
        _fail(log, beside, "nowhere", station="elsewhere", partition=1)
        _fail(log, run, "other", station="s2")
        letters = run.rows(dead_letter)
        kept = [one.station for one in letters if one.blob_sha256]
        assert sorted(kept) == ["elsewhere", "nowhere", "nowhere", "s1", "s1", "s1", "s2", "s2"]
        assert len(letters) == 12, "headers and hash are kept of all"
        assert sorted(one.kind for one in run.rows(item)) == ["failed"] * 5


def test_uncertified_frames_have_a_quota_of_their_own_and_the_next_hour_another(engine: Engine, tmp_path: Path) -> None:
    log, wanted = MemoryLog(), settings(tmp_path, blobs={"failed_per_hour": QUOTA}, pipeline={"max_age_s": 36000})
    for number, now in enumerate([HALF_PAST, HALF_PAST, HALF_PAST + timedelta(hours=1)]):
        with running(engine, wanted, MemorySource(log), clock=lambda now=now: now) as run:  # type: ignore[misc]
            other = Deployed(run.seeded.deployment_id, run.scorer, certificate(run.seeded.artifact_sha256, "other/1"))
            run.provider.deployed[run.seeded.product_id] = other
            for part in range(2):
                log.append(frame(), headers(f"f{number}-{part}"))
            _fail(log, run, f"torn{number}-")
            run.until_received(4 * number + 4)
            assert len(run.rows(item)) == [4, 6, 10][number]
