"""Health is progress: what makes an agent not live, and what only not ready."""

from __future__ import annotations

import json
import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from agent.health import Health, HealthError, HealthServer
from agent.metrics import Metrics


@pytest.mark.promise(7)
def test_a_loop_that_stands_still_is_dead_unless_a_dependency_is_out() -> None:
    now = 0.0
    health = Health(monotonic=lambda: now)
    health.tick("intake", within_s=30)
    now = 31.0
    assert health.dead() == {"intake": "no progress for 31 s"}
    health.dependency("database", "gone")
    assert health.dead() == {}
    assert health.unready() == {"database": "gone"}
    health.dependency("database", None)
    health.forget("intake")
    assert health.dead() == {}
    assert health.unready() == {}


@pytest.mark.promise(7)
def test_no_outage_excuses_a_loop_that_waits_for_nobody() -> None:
    now = 0.0
    health = Health(monotonic=lambda: now)
    health.tick("intake", within_s=120, waits=False)
    health.dependency("source", "gone")
    now = 120.0
    assert health.dead() == {}
    now = 121.0
    assert health.dead() == {"intake": "no progress for 121 s"}


@pytest.mark.promise(7)
def test_the_server_answers_health_and_metrics() -> None:
    health, metrics = Health(), Metrics()
    metrics.frames.labels("inspected").inc(3)
    problems: dict[str, str | None] = {"models": "product 1 has no usable model"}
    health.ready_check("models", lambda: problems["models"])
    server = HealthServer("127.0.0.1", 0, health, metrics.text)
    try:
        base = f"http://127.0.0.1:{server.port}"
        with urlopen(f"{base}/livez") as answer:
            assert json.load(answer) == {"ok": True, "problems": {}}
        with pytest.raises(HTTPError, match="503") as refused:
            urlopen(f"{base}/readyz")
        with refused.value as body:
            assert json.load(body)["problems"] == problems
        problems["models"] = None
        with urlopen(f"{base}/readyz") as answer:
            assert answer.status == 200
        with urlopen(f"{base}/metrics") as answer:
            assert b'goodpart_frames_total{outcome="inspected"} 3.0' in answer.read()
        with pytest.raises(HTTPError, match="404") as missing:
            urlopen(f"{base}/")
        missing.value.close()
    finally:
        server.close()


def test_a_port_in_use_names_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HealthError, match=r"agent\.port: .*GOODPART_AGENT__PORT"):
            HealthServer("127.0.0.1", taken.getsockname()[1], Health(), Metrics().text)
