"""What a service manager hears, on a socket of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from agent.systemd import Systemd


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = f"@goodpart-{uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name.startswith("@") else name)
        listening.settimeout(5)
        yield listening, name


def test_a_manager_hears_of_start_life_and_end(manager: tuple[socket.socket, str]) -> None:
    listening, name = manager
    told = Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"})
    assert told.watchdog_s == 60
    told.ready("reading kafka")
    told.alive()
    told.stopping("draining")
    assert [listening.recv(200) for _ in range(3)] == [
        b"READY=1\nSTATUS=reading kafka", b"WATCHDOG=1", b"STOPPING=1\nSTATUS=draining",
    ]  # fmt: skip


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    Systemd({}).ready("x")
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive()
    assert Systemd({"WATCHDOG_USEC": "1000000"}).watchdog_s is None
    assert Systemd({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}).watchdog_s is None
