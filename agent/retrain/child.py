"""Child processes of an agent: how they are started, and how each begins.

They work at low priority on half of the cores, so that the live line keeps its speed, with the agent's settings.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from sqlalchemy import Engine

from agent import logs
from agent import settings as settings_module
from agent.retrain.holding import TTL
from agent.settings import Settings, utc_now
from agent.store.engine import open_engine
from agent.store.leases import Lease

CHECKING, JOB, LOOK = "agent.retrain.checking", "agent.retrain.job", "agent.retrain.look"


def threads() -> int:
    """Half of the cores, at least one."""
    return max(1, (os.cpu_count() or 1) // 2)


def spawn(settings: Settings, module: str, *arguments: str, lease: Lease | None = None) -> subprocess.Popen[bytes]:
    """Starts `python -m MODULE ARGUMENTS` as a child of this process.

    Args:
        settings: the child gets them by its environment.
        module: whose `main` reads the arguments with `parser`.
        arguments: its own ones.
        lease: under which it works; taken by this process.
    """
    held = ["--holder", lease.holder, "--token", str(lease.token)] if lease else []
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads()))
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments, *held, "--parent", str(os.getpid())],
        env={**os.environ, **settings_module.environment(settings), **limits},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the agent, which then ends the child
    )


def parser(module: str, description: str, *, leased: bool = True) -> argparse.ArgumentParser:
    """Reads what `spawn` gives; the caller adds its own arguments."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    if leased:
        made.add_argument("--holder", required=True, help="who holds the lease")
        made.add_argument("--token", type=int, required=True, help="the lease's fencing token")
    made.add_argument("--parent", type=int, required=True, help="process id of the agent that started this")
    return made


def lease_of(given: argparse.Namespace, name: str) -> Lease:
    """The lease under which this process works."""
    return Lease(name, given.holder, given.token, utc_now() + TTL)


def begin() -> tuple[Settings, Engine]:
    """The settings and the database; from here on this process logs, and gives way to others."""
    settings = settings_module.load(None, os.environ)
    logs.configure(settings.log.level, settings.log.format)
    os.nice(settings.retrain.nice)
    return settings, open_engine(settings.database.url)
