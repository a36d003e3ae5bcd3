"""A seeded few of the rounds of `tests.crash.rounds`; `make crash ROUNDS=100` runs many."""

from __future__ import annotations

from contextlib import suppress

import pytest

from agent.demo.server import ServerError
from tests.apache_kafka import ApacheKafka
from tests.crash.plan import ALL, EVERYWHERE, ON_POSTGRESQL, Plan
from tests.crash.rounds import run_round
from tests.postgresql import PostgreSQL

# Found by `python -m tests.crash.plan`.
SQLITE, POSTGRESQL = (68, 62, 825, 1357), (1152, 1763, 788, 387)


@pytest.fixture
def broker(apache: ApacheKafka) -> ApacheKafka:
    """Runs, also where the round before failed with it stopped."""
    with suppress(ServerError):
        apache.start()
    return apache


def test_these_rounds_have_every_fault_and_every_failpoint() -> None:
    plans = [Plan.drawn(seed, EVERYWHERE) for seed in SQLITE]
    plans += [Plan.drawn(seed, ON_POSTGRESQL) for seed in POSTGRESQL]
    assert set().union(*(plan.kinds for plan in plans)) == ALL


@pytest.mark.promise(1, 8, 9, 10)
@pytest.mark.parametrize("seed", SQLITE)
def test_a_round_on_sqlite(seed: int, broker: ApacheKafka) -> None:
    run_round(seed, broker, None)


@pytest.mark.promise(1, 8, 9, 10)
@pytest.mark.parametrize("seed", POSTGRESQL)
def test_a_round_on_postgresql(seed: int, broker: ApacheKafka, postgresql_server: PostgreSQL) -> None:
    run_round(seed, broker, postgresql_server)
