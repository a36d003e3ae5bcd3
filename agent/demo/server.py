"""A server program on 127.0.0.1 that lives as long as a `with` block, and never longer than this process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from time import monotonic
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
ANSWER_S = 15.0
# Becomes the program, after asking Linux (prctl, PR_SET_PDEATHSIG) to end it when this process is killed and cannot.
LEASH = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl:
    prctl(1, signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


class ServerError(Exception):
    """A server that does not start; the message says why and what to do."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """Starts a program and waits until it answers.

    Args:
        name: for messages, and for its log file.
        command: gives the command line for a port.
        folder: where its log goes; None: nowhere.
        port: to listen on; 0 for any free one.

    Raises:
        ServerError: the port is in use, or the program ends or does not answer in time.
    """

    def __init__(self, name: str, command: Callable[[int], Sequence[str]], *, folder: Path | None, port: int = 0):
        self.name = name
        self._command, self._port, self._folder = command, port or free_port(), folder

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self._port}"

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
        log = (self._folder / f"{self.name}.log").open("ab") if self._folder else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-c", LEASH, *self._command(self._port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        finally:
            if not isinstance(log, int):
                log.close()
        end, pause = monotonic() + ANSWER_S, Event()
        while not self._answers():
            if self._process.poll() is not None:
                raise ServerError(f"{self.name} ended with status {self._process.returncode} before it answered")
            if monotonic() > end:
                self.stop()
                raise ServerError(f"{self.name} did not answer on {self.address} in {ANSWER_S:.0f} s")
            pause.wait(0.02)

    def stop(self) -> None:
        """Ends it; what it held in memory is gone."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=0.2):
                return True
        except OSError:
            return False
