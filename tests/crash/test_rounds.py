"""A seeded few of the rounds of `tests.crash.rounds`; `make crash ROUNDS=100` runs many."""

from __future__ import annotations

from contextlib import suppress

import pytest

from agent.demo.server import ServerError
from tests.apache_kafka import ApacheKafka
from tests.crash.rounds import run_round
from tests.postgresql import PostgreSQL

# Between them these plans hold every kind of fault and nearly every failpoint.
SEEDS = range(4)


@pytest.fixture
def broker(apache: ApacheKafka) -> ApacheKafka:
    """Runs, also where the round before failed with it stopped."""
    with suppress(ServerError):
        apache.start()
    return apache


@pytest.mark.parametrize("seed", SEEDS)
def test_a_round_on_sqlite(seed: int, broker: ApacheKafka) -> None:
    run_round(seed, broker, None)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_round_on_postgresql(seed: int, broker: ApacheKafka, postgresql_server: PostgreSQL) -> None:
    run_round(100 + seed, broker, postgresql_server)
