"""Whether a broker listens at all, and whether its certificate is good: before a client is made, and while it waits."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from agent.sources.base import SourceError, SourceUnreachableError

TIMEOUT_S = 3.0
# ApiVersions, version 0, correlation 1, no client id: what every broker answers before a login. Kafka protocol guide.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_CORRELATION = struct.pack(">i", 1)


def check(bootstrap: str, *, timeout_s: float = TIMEOUT_S, context: ssl.SSLContext | None = None) -> None:
    """Connects to the first of HOST:PORT[,HOST:PORT...] that listens, and hangs up.

    Args:
        bootstrap: addresses.
        timeout_s: for each of them.
        context: shake hands under it too; None for a broker without TLS.

    Raises:
        SourceUnreachableError: none does; the message says what to do.
        SourceError: one does, and its certificate is not trusted, or it wants one of ours.
    """
    problem = "no address is given"
    for address in _addresses(bootstrap):
        try:
            with _connection(address, timeout_s, context):
                return
        except ssl.SSLError as error:
            raise SourceError(
                f"kafka.security: no TLS with {address} ({getattr(error, 'verify_message', '') or error.reason}); set "
                "kafka.ca_file to the authority that signed its certificate, and name it as the certificate does"
            ) from error
        except ValueError:
            problem = f"{address!r} is not HOST:PORT"
        except OSError as error:
            problem = error.strerror or str(error) or type(error).__name__
    raise SourceUnreachableError(
        f"kafka.bootstrap: no Kafka broker answers at {bootstrap} ({problem}); start it, or set "
        "GOODPART_KAFKA__BOOTSTRAP=HOST:PORT"
    )


def speaks_kafka(bootstrap: str, *, timeout_s: float = TIMEOUT_S, context: ssl.SSLContext | None = None) -> bool:
    """Whether one of the addresses answers as a Kafka broker does; arguments as of `check`."""
    for address in _addresses(bootstrap):
        try:
            with _connection(address, timeout_s, context) as line:
                line.sendall(_API_VERSIONS)
                if line.recv(8)[4:8] == _CORRELATION:
                    return True
        except (OSError, ValueError):
            continue
    return False


def _addresses(bootstrap: str) -> list[str]:
    return [part.strip() for part in bootstrap.split(",") if part.strip()]


@contextmanager
def _connection(address: str, timeout_s: float, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    with socket.create_connection((host, int(port)), timeout_s) as plain:
        if context is None:
            yield plain
        else:
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                yield wrapped
