"""A server program on 127.0.0.1 that lives as long as a `with` block, and never longer than this process."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections. Among those, a client that looks for a stopped server can
# be given the server's own port and then reach itself, or hold the port when the server starts again.
PORTS = range(20_000, 32_000)
# Becomes the program, after asking Linux (prctl, PR_SET_PDEATHSIG) to end it when this process is killed and cannot.
# A small program of its own, because a preexec_fn may deadlock where other threads run. The kernel sends the signal
# when the thread that started it ends; a parent that was gone before prctl never sends it, hence the look at getppid.
LEASH = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("its parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
LOG_LINES = 3


class ServerError(Exception):
    """A server that does not start; the message says why and what to do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now.

    Raises:
        ServerError: a hundred in a row are in use.
    """
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise ServerError(f"no free port found on {HOST} between {PORTS.start} and {PORTS.stop}; stop some servers")


class Server:
    """Starts a program and waits until it answers. On Linux it also ends with the thread that started it.

    Args:
        name: for messages, and for its log file.
        command: gives the command line for a port.
        folder: where its log goes; None: nowhere.
        port: to listen on; 0 for any free one.

    Raises:
        ServerError: the port is in use, or the program ends or does not answer in time.
    """

    ENDS = signal.SIGTERM
    ANSWER_S = 15.0

    def __init__(self, name: str, command: Callable[[int], Sequence[str]], *, folder: Path | None, port: int = 0):
        self.name = name
        self._command, self._port = command, port or free_port()
        self._log = folder / f"{name}.log" if folder else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Process id, for tests that stop or kill it."""
        if self._process is None:
            raise ServerError(f"{self.name} does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it, on the same port as before."""
        if self._answers():
            raise ServerError(f"{self.name}: port {self._port} is in use; stop what uses it, or choose another")
        with (self._log or Path(os.devnull)).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *self._command(self._port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self._await(self._process)
        except BaseException:
            self.stop()
            raise

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        end, pause = monotonic() + self.ANSWER_S, Event()
        while not self._answers():
            if process.poll() is not None:
                raise ServerError(f"{self.name} ended with status {process.returncode} before it answered{self._why()}")
            if monotonic() > end:
                raise ServerError(f"{self.name} did not answer on {self.address} in {self.ANSWER_S:.0f} s{self._why()}")
            pause.wait(0.02)

    def _why(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log else []
        return "".join(f"\n  {line}" for line in lines[-LOG_LINES:])

    def stop(self) -> None:
        """Ends it; what it held in memory is gone. Nothing happens where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.ENDS)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends it a signal and waits for its end."""
        os.kill(self.pid, number)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=0.2):
                return True
        except OSError:
            return False
