"""Serves the dashboard: Streamlit's pages, and routes of our own for evidence pictures, on one port."""

from __future__ import annotations

import errno
import gc
import hashlib
import hmac
import os
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from streamlit.runtime.secrets import SecretsValue

from agent.settings import Settings, environment, is_loopback
from agent.store.engine import reading
from agent.store.install import install_of
from dashboard import blobs, catalogues, context, entering, front, pages, words
from dashboard.gate import Gate

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
        DashboardError: the port is in use, the address is not this machine's, or others could come in who should not.
        WordsError: the translation that the settings ask for cannot be used.
    """
    words.use(catalogues.load(settings.dashboard.language, settings.dashboard.words))
    os.environ.update(environment(settings))
    with reading(context.database()) as conn:
        check_reach(settings, guarded=context.guarded(conn))
        secrets = _secrets(settings, install_of(conn).secret)
    host, port = settings.dashboard.host, settings.dashboard.port
    check_port(host, port)
    origins = settings.dashboard.origins
    if settings.oidc.issuer:
        origins = origins[:1]  # the provider sends back to that one, where another's cookies are not
    gate = Middleware(Gate, origins=origins, pages=[one.path for one in pages.VIEWS], signed_in=context.allowed)
    # It reads .streamlit/config.toml beside the script.
    shell = front.routes(["/", *(f"/{one.path}" for one in pages.VIEWS)], origins, settings.dashboard.language)
    app = st.App(SCRIPT, routes=[*shell, *blobs.routes(), *entering.routes()], middleware=[gate], secrets=secrets)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn raises the signal again when it has shut down
    # Streamlit collects garbage after each run of a page, which would go through all that is loaded every time.
    gc.collect()
    gc.freeze()
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    return 0


def _secrets(settings: Settings, secret: bytes) -> dict[str, SecretsValue]:
    """What `st.login` goes by; nothing where there is no provider of identities."""
    provider = settings.oidc
    if not provider.issuer:
        return {}
    auth: dict[str, SecretsValue] = {
        "redirect_uri": f"{settings.dashboard.origins[0]}/oauth2callback",
        "cookie_secret": hmac.new(secret, b"st.login", hashlib.sha256).hexdigest(),
        "client_id": provider.client_id,
        "client_secret": provider.client_secret,
        "server_metadata_url": f"{provider.issuer}/.well-known/openid-configuration",
    }
    return {"auth": auth}


def check_reach(settings: Settings, *, guarded: bool) -> None:
    """Raises DashboardError where others than this machine's users would reach what they should not."""
    here = is_loopback(settings.dashboard.host)
    named_here = all(is_loopback(urlsplit(one).hostname or "") for one in settings.dashboard.origins)
    if not guarded and not (here and named_here):
        raise DashboardError(
            f"nobody has a password yet, so whoever reaches {settings.dashboard.url or settings.dashboard.host} could "
            "act as anybody: give the users passwords (goodpart users password NAME) or set oidc.issuer first, "
            'or leave dashboard.host = "127.0.0.1" and dashboard.url = ""'
        )
    if not here and not settings.dashboard.url:
        raise DashboardError(
            f"dashboard.host is {settings.dashboard.host}: set dashboard.url to what browsers call the dashboard, "
            "https://NAME of the proxy before it; requests under other names are refused"
        )


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
