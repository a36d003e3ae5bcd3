"""The files from which this machine goes on with a run after a crash: one for each run that has no end yet."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agent.store.snapshots import Snapshot


def path_of(directory: Path, run_id: int, snapshot: Snapshot) -> Path:
    """The file of a run on a snapshot; its folder is made where it is missing.

    Raises:
        OSError: it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"run-{run_id}-{snapshot.sha256[:12]}.pt"


def forget(directory: Path, run_id: int) -> None:
    """Removes what is kept of a run that has ended."""
    for path in [*directory.glob(f"run-{run_id}-*.pt"), *directory.glob(f".run-{run_id}-*.pt.part")]:
        path.unlink(missing_ok=True)


def sweep(directory: Path, unfinished: Collection[int]) -> None:
    """Removes what is kept of all runs but these: another machine ended them, or this one lost its power."""
    for path in [*directory.glob("run-*-*.pt"), *directory.glob(".run-*-*.pt.part")]:
        number = path.name.removeprefix(".").split("-")[1]
        if not number.isdecimal() or int(number) not in unfinished:
            path.unlink(missing_ok=True)
