"""Whether a broker listens at all.

A kafka-python client that finds nobody (3.0.12) leaves its IO thread and sockets behind, so look first.
"""

from __future__ import annotations

import socket

from agent.sources.base import SourceUnreachableError


def check(bootstrap: str, *, timeout_s: float = 3.0) -> None:
    """Connects to the first of HOST:PORT[,HOST:PORT...] that listens, and hangs up.

    Raises:
        SourceUnreachableError: none does; the message says what to do.
    """
    problem = "no address is given"
    for address in filter(None, (part.strip() for part in bootstrap.split(","))):
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
        except ValueError:
            problem = f"{address!r} is not HOST:PORT"
        except OSError as error:
            problem = error.strerror or str(error) or type(error).__name__
        else:
            return
    raise SourceUnreachableError(
        f"kafka.bootstrap: no Kafka broker answers at {bootstrap} ({problem}); start it, or set "
        "GOODPART_KAFKA__BOOTSTRAP=HOST:PORT"
    )
