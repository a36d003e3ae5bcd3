"""A child of an agent that holds no lease, looks at nothing and never comes to its end: `python -m tests.stubborn`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agent.retrain import child

STARTED, BEGUN, GO_ON = "STUBBORN_STARTED", "STUBBORN_BEGUN", "STUBBORN_GO_ON"  # paths of files


def main(arguments: Sequence[str]) -> int:
    """Writes its process id at its start, waits to be let on, and begins as the product's own children do."""
    given = child.parser("tests.stubborn", "Never ends.", leased=False).parse_args(arguments)
    _write(STARTED)
    while not Path(os.environ[GO_ON]).exists():
        time.sleep(0.01)
    child.GRACE_S = 0.1
    child.begin(given.parent)
    _write(BEGUN)
    while True:
        time.sleep(60)


def _write(name: str) -> None:
    place = Path(os.environ[name])
    place.with_suffix(".part").write_text(str(os.getpid()))
    place.with_suffix(".part").rename(place)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
