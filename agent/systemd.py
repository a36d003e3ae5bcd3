"""What systemd wants to hear of a service: that it is ready, that it lives, that it stops (sd_notify(3))."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress


class Systemd:
    """The service manager's socket. Where there is none, telling it something does nothing.

    Args:
        environ: systemd gives NOTIFY_SOCKET, and WATCHDOG_USEC where the unit has WatchdogSec.

    Attributes:
        watchdog_s: seconds within which it wants to hear that the service lives; None where it does not ask.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # An abstract socket is written with @ and addressed with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        micros = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(micros) / 1e6 if address and micros.isdigit() else None

    def ready(self, status: str) -> None:
        """The service works; `status` is what `systemctl status` shows."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """The service makes progress."""
        self._tell("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The service ends."""
        self._tell(f"STOPPING=1\nSTATUS={status}")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # A manager that does not listen must not stop the line.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto(state.encode(), self._address)
