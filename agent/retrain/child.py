"""Child processes of an agent: how they are started, and how each begins.

They work at low priority on half of the cores, so that the live line keeps its speed, with the agent's settings.

None outlives its agent, also where that is killed and can end nobody. `holding.Holding` looks at the parent and ends
the work in good order, but only between two steps and only once the lease is held; loading the libraries, one batch on
a busy machine, or a database that is gone too, may take minutes. So a thread of `begin` looks from the start and ends
the process. It looks rather than asking Linux for a signal (PR_SET_PDEATHSIG): that comes when the *thread* that
started the child ends, and the scheduler's threads end before the agent has given its children their time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from threading import Thread
from time import sleep

from sqlalchemy import Engine

from agent import logs
from agent import settings as settings_module
from agent.retrain.holding import LOOK_S, TTL, orphaned
from agent.settings import Settings, utc_now
from agent.store.engine import open_engine
from agent.store.leases import Lease

CHECKING, JOB, LOOK = "agent.retrain.checking", "agent.retrain.job", "agent.retrain.look"
ORPHANED = 6  # exit status of a child whose agent is gone, and that did not come to its end by itself
GRACE_S = 60.0  # what it has for that: a step and a transaction, on a busy machine too


def threads() -> int:
    """Half of the cores, at least one.

    Of every training of a plant, a person's at a terminal too: a checkpoint is of one number of threads, and whoever
    takes up a run that another process left goes on from it.
    """
    return max(1, (os.cpu_count() or 1) // 2)


def give_way(settings: Settings) -> None:
    """From here on this process leaves the processor to whatever else wants it, such as a live line."""
    os.nice(settings.retrain.nice)


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


def begin(parent: int) -> tuple[Settings, Engine]:
    """The settings and the database; from here on this process logs, gives way to others, and ends with its agent.

    Args:
        parent: process id of the agent, as the command line has it. So one that was gone before is noticed too.
    """
    Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()
    settings = settings_module.load(None, os.environ)
    logs.configure(settings.log.level, settings.log.format)
    give_way(settings)
    return settings, open_engine(settings.database.url)


def _end_with(parent: int) -> None:
    """As a SIGKILL would: nothing is written that a killed child would not leave, and another takes up its work."""
    while not orphaned(parent):
        sleep(LOOK_S)
    sleep(GRACE_S)
    os._exit(ORPHANED)
