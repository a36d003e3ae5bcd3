from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.retrain import holding as module
from agent.retrain.errors import Interrupted
from agent.retrain.holding import LEASE, TTL, Holding, acquire
from agent.store import leases, tables
from agent.store.engine import reading, writing
from agent.store.leases import Lease
from tests.integration.retrain_parts import NOW, database, tiny, until


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "RENEW_S", 0.02)
    engine, *_ = database(tiny(tmp_path))
    yield engine
    engine.dispose()


def taken(engine: Engine, now: datetime) -> Lease | None:
    with writing(engine) as conn:
        return acquire(conn, now)


def stopped(holding: Holding) -> bool:
    try:
        holding.check()
    except Interrupted:
        return True
    return False


def test_one_holder_and_it_gives_back(engine: Engine) -> None:
    clock = Clock()
    lease = taken(engine, clock())
    assert lease
    with Holding(engine, lease, clock) as holding:
        holding.check()
        assert taken(engine, clock()) is None
    assert taken(engine, clock())


def test_it_renews_while_it_holds(engine: Engine) -> None:
    clock = Clock()
    lease = taken(engine, clock())
    assert lease
    with Holding(engine, lease, clock) as holding:
        clock.now += TTL * 0.9

        def renewed() -> bool:
            with reading(engine) as conn:
                return bool(conn.execute(sa.select(tables.lease.c.expires_at)).scalar_one() == clock.now + TTL)

        until(renewed)
        assert taken(engine, NOW + TTL * 1.5) is None
        holding.check()


def test_a_lost_lease_stops_the_run_and_its_transaction(engine: Engine) -> None:
    clock = Clock()
    lease = taken(engine, clock())
    assert lease
    other = taken(engine, clock() + TTL + timedelta(seconds=1))
    assert other and other.token > lease.token
    with Holding(engine, lease, clock) as holding:
        until(lambda: stopped(holding))
        with pytest.raises(Interrupted), writing(engine) as conn:
            holding.confirm(conn)
    with reading(engine) as conn:
        leases.check(conn, other, clock())  # the loser did not give back what it no longer has


def test_confirm_sees_a_takeover_that_the_thread_did_not(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_S", 3600.0)
    clock = Clock()
    lease = taken(engine, clock())
    assert lease
    with Holding(engine, lease, clock) as holding:
        assert taken(engine, clock() + TTL + timedelta(seconds=1))
        holding.check()
        with pytest.raises(Interrupted, match="taken over"), writing(engine) as conn:
            holding.confirm(conn)


def test_a_run_does_not_outlive_its_agent(engine: Engine) -> None:
    lease = taken(engine, NOW)
    assert lease and lease.name == LEASE
    with Holding(engine, lease, Clock(), parent=-1) as holding:
        until(lambda: stopped(holding))
        with pytest.raises(Interrupted, match="agent") as caught:
            holding.check()
    assert caught.value.crashed
