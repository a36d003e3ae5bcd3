"""Health is progress: what /livez, /readyz and /metrics of one agent answer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Check = Callable[[], str | None]  # None: well; else the problem in words


class HealthError(Exception):
    """The health server cannot run; the message names the setting."""


@dataclass(frozen=True, slots=True)
class _Tick:
    at: float
    within_s: float
    waits: bool


class Health:
    """Ticks of loops, states of dependencies and further checks. Thread-safe.

    Live: every loop's tick is fresh and every live check passes. A dependency's outage makes the agent not ready, never
    not live: restarting it would not help.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._ticks: dict[str, _Tick] = {}
        self._outages: dict[str, str | None] = {}
        self._well_since = monotonic()
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def tick(self, loop: str, *, within_s: float = 30.0, waits: bool = True) -> None:
        """The loop goes round; it is dead when it does not tick again within `within_s` seconds.

        Args:
            loop: its name.
            within_s: seconds.
            waits: it waits for dependencies, so it is not dead while one is out.
        """
        with self._lock:
            self._ticks[loop] = _Tick(self._monotonic(), within_s, waits)

    def forget(self, loop: str) -> None:
        """The loop has ended as it should."""
        with self._lock:
            self._ticks.pop(loop, None)

    def dependency(self, name: str, problem: str | None) -> bool:
        """States whether a dependency answers (None) or what is wrong; True where it is news whether it does."""
        with self._lock:
            news, out = bool(self._outages.get(name)) != bool(problem), any(self._outages.values())
            self._outages[name] = problem
            if out and not any(self._outages.values()):
                self._well_since = self._monotonic()
            return news

    @property
    def outages(self) -> dict[str, str]:
        """Dependencies that do not answer, with the reason."""
        with self._lock:
            return {name: problem for name, problem in self._outages.items() if problem}

    def well_s(self) -> float:
        """Seconds for which all dependencies have answered; 0 while one does not."""
        with self._lock:
            return 0.0 if any(self._outages.values()) else self._monotonic() - self._well_since

    def live_check(self, name: str, check: Check) -> None:
        """Adds a check to /livez."""
        self._live[name] = check

    def ready_check(self, name: str, check: Check) -> None:
        """Adds a check to /readyz."""
        self._ready[name] = check

    def dead(self) -> dict[str, str]:
        """What makes the agent not live; empty while it lives."""
        now = self._monotonic()
        with self._lock:
            outage = any(self._outages.values())
            stale = {
                loop: f"no progress for {now - tick.at:.0f} s"
                for loop, tick in self._ticks.items()
                if now - tick.at > tick.within_s and not (tick.waits and outage)
            }
        return stale | _problems(self._live)

    def unready(self) -> dict[str, str]:
        """What makes the agent not ready; empty while it is ready."""
        return self.outages | _problems(self._ready)


def _problems(checks: Mapping[str, Check]) -> dict[str, str]:
    found = {name: check() for name, check in checks.items()}
    return {name: problem for name, problem in found.items() if problem}


class HealthServer:
    """Answers /livez, /readyz and /metrics on its own thread.

    Raises:
        HealthError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, health: Health, metrics: Callable[[], bytes]) -> None:
        def answer(path: str) -> tuple[int, str, bytes]:
            if path == "/metrics":
                return 200, "text/plain; version=0.0.4; charset=utf-8", metrics()
            if path in ("/livez", "/readyz"):
                problems = health.dead() if path == "/livez" else health.unready()
                body = json.dumps({"ok": not problems, "problems": problems}).encode()
                return (503 if problems else 200), "application/json", body
            return 404, "text/plain", b"/livez, /readyz and /metrics are here\n"

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        try:
            self._server = _Server((host, port), Handler)
        except OSError as error:
            raise HealthError(
                f"agent.host and agent.port: {host}:{port} cannot be bound ({error.strerror or error}); "
                "stop what uses it, or set GOODPART_AGENT__PORT to a free port (0 = any)"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A port in TIME_WAIT is free; binding one that somebody listens on still fails.
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no event."""
