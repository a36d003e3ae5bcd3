"""A child process of the demo: its own session (Ctrl-C reaches only the demo), its output in a log file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from agent.demo.server import LEASH


class ChildError(Exception):
    """A child ended by itself; the message holds the end of its log."""


class Child:
    """Runs `python -m agent.cli ARGUMENTS` until the end of the `with` block, then SIGTERM, then SIGKILL."""

    def __init__(self, arguments: Sequence[str], *, environ: Mapping[str, str], log: Path, patience_s: float = 30.0):
        self.name = arguments[0]
        self.log = log
        program = [sys.executable, "-m", "agent.cli", *arguments]
        self._command = [sys.executable, "-S", "-c", LEASH, str(os.getpid()), *program]
        self._environ = {**os.environ, **environ}
        self._patience_s = patience_s

    def __enter__(self) -> Child:
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id, for tests that kill it."""
        return self._process.pid

    def check(self) -> None:
        """Raises ChildError if the child has ended."""
        code = self._process.poll()
        if code is not None:
            raise ChildError(f"the {self.name} ended with status {code}:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL, as a power cut would; returns when it is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM and wait; SIGKILL when its patience is over. Returns the exit status."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(self._patience_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.returncode

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
