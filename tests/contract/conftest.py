"""The brokers that every contract of Kafka runs on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.demo.broker import KafkaBroker


@pytest.fixture(scope="module")
def tansu() -> Iterator[KafkaBroker]:
    with KafkaBroker() as started:
        yield started


@pytest.fixture(params=["tansu", "apache"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).bootstrap)
