"""Outages are waited for; faults are not."""

from __future__ import annotations

import random
from threading import Event

import pytest

from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.patience import AbandonedError, BlobsUnreachableError, Patience, PatientBlobs, blamed
from agent.sources.base import SourceUnreachableError
from agent.store.errors import Unreachable
from agent.store.local_blobs import MemoryBlobs


class _Hasty(Event):
    """An event whose waits take no time."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def _patience(health: Health, abandon: Event) -> Patience:
    return Patience(health, Metrics(), abandon, random.Random(0))


def test_an_outage_is_waited_for_and_told() -> None:
    health = Health()
    left = [Unreachable("gone"), Unreachable("gone")]
    told: list[dict[str, str]] = []

    def operation() -> str:
        told.append(health.outages)
        if left:
            raise left.pop()
        return "done"

    assert _patience(health, _Hasty()).call(operation, "database") == "done"
    assert [list(one) for one in told] == [[], ["database"], ["database"]]
    assert health.outages == {}


def test_a_fault_is_raised_at_once() -> None:
    with pytest.raises(ZeroDivisionError):
        _patience(Health(), _Hasty()).call(lambda: 1 // 0, "database")


def test_abandoning_ends_the_wait() -> None:
    abandon = _Hasty()
    abandon.set()

    def operation() -> None:
        raise SourceUnreachableError("gone")

    with pytest.raises(AbandonedError):
        _patience(Health(), abandon).call(operation, "broker")


def test_each_outage_is_blamed_on_its_dependency() -> None:
    class Broken(MemoryBlobs):
        def get(self, sha256: str) -> bytes:
            raise Unreachable("disk")

    with pytest.raises(BlobsUnreachableError) as error:
        PatientBlobs(Broken()).get("0" * 64)
    assert blamed(error.value) == "blobs"
    assert blamed(Unreachable("x")) == "database"
    assert blamed(SourceUnreachableError("x")) == "broker"
    assert blamed(ValueError("x")) is None
