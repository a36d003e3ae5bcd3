"""Sockets that read much at once.

kafka-python 3.0.12 reads 4 KiB a call: fifty calls for a frame of 200 KB, each of which hands the interpreter's lock to
another thread and waits for it.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from kafka.net.inet import KafkaNetSocket

AT_ONCE = 64 << 10
VIA = "goodpart:"  # as kafka-python's option proxy_url: there is no proxy, only sockets of our own


class _Wide(socket.socket):
    def recv(self, size: int, flags: int = 0) -> bytes:
        return super().recv(max(size, AT_ONCE), flags)

    # Python's own asks the kernel for both addresses, and its selector writes it out at every look for a new socket.
    def __repr__(self) -> str:
        return f"<socket {self.fileno()}>"


class WideTls(ssl.SSLSocket):
    """For `SSLContext.sslsocket_class`."""

    def recv(self, buflen: int = AT_ONCE, flags: int = 0) -> bytes:
        """At most AT_ONCE, however little is asked for."""
        return super().recv(max(buflen, AT_ONCE), flags)


class _Sockets(KafkaNetSocket):  # type: ignore[misc]
    SCHEMES = (VIA.rstrip(":"),)

    def socket(
        self,
        family: int = socket.AF_UNSPEC,
        sock_type: int = socket.SOCK_STREAM,
        proto: int = socket.IPPROTO_TCP,
    ) -> Any:
        return _Wide(family, sock_type, proto)
