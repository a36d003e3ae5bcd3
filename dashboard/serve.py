"""Serves the dashboard: Streamlit's pages, and routes of our own for evidence pictures, on one port."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from pathlib import Path

import streamlit as st
import uvicorn

from agent.settings import Settings, environment
from dashboard.blobs import routes

SCRIPT = Path(__file__).with_name("app.py")


class DashboardError(Exception):
    """The dashboard cannot be served; the message says what to do."""


def run(settings: Settings) -> int:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        settings: all of them; the pages see exactly these.

    Returns:
        0, the exit status after an orderly end.

    Raises:
        DashboardError: the port is in use, or the address is not this machine's.
    """
    check_port(settings.dashboard.host, settings.dashboard.port)
    os.environ.update(environment(settings))
    app = st.App(SCRIPT, routes=routes())  # reads .streamlit/config.toml beside the script
    host, port = settings.dashboard.host, settings.dashboard.port
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it has shut down
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    return 0


def check_port(host: str, port: int) -> None:
    """Raises DashboardError where nobody could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            used = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise DashboardError(f"port {port} on {host} {used}; set dashboard.port to another one") from None
