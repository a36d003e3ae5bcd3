"""An agent as a process of its own, with the tests' scorer in place of torch: `python -m tests.crash.agent_process`.

Everything else is the product's own daemon; settings come from the environment, as do five things of the tests:
`SCORING_DELAY_S`, seconds a frame; `CANVAS`, pixels of a side of its maps; `BREAKS_AFTER`, batches; `FULL_DISK`, a file
that fills the blobs' disk while it is there; `RETRAINS`, for an agent that trains too: the module that its child runs,
with torch.
"""

from __future__ import annotations

import errno
import faulthandler
import hashlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent import daemon, files, settings
from agent.store import local_blobs
from model.images import InputSpec
from tests.streams import FakeScored, FakeScorer


class Scorer(FakeScorer):
    """Breaks for good after so many batches."""

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        self.broken = len(self.batches) >= float(os.environ.get("BREAKS_AFTER", "inf"))
        return super().score(frames)


def load(data: bytes, wanted: settings.Settings) -> Scorer:
    """A scorer of any artifact."""
    delay_s, side = float(os.environ.get("SCORING_DELAY_S", "0")), int(os.environ.get("CANVAS", "64"))
    return Scorer(InputSpec(side, side), artifact_sha256=hashlib.sha256(data).hexdigest(), delay_s=delay_s)


def fill(flag: Path) -> None:
    """From now on half of a blob is written while the file `flag` is there, and then the disk is full."""
    write = files.write_whole

    def fitting(part: bytes) -> Iterator[bytes]:
        yield part[: len(part) // 2]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_whole(path: Path, parts: Iterable[bytes]) -> None:
        write(path, fitting(b"".join(parts)) if flag.exists() else parts)

    local_blobs.write_whole = write_whole  # type: ignore[attr-defined]


def main() -> int:
    """Runs the daemon over a fake scorer. On SIGUSR1 it says where each of its threads is."""
    faulthandler.register(signal.SIGUSR1)
    if flag := os.environ.get("FULL_DISK"):
        fill(Path(flag))
    retrain = None
    if job := os.environ.get("RETRAINS"):
        from agent.retrain import child

        child.JOB, retrain = job, daemon.start_retraining
    code = daemon.run(settings.load(None, os.environ), wiring=daemon.Wiring(load=load, retrain=retrain))
    assert "torch" not in sys.modules
    return code


if __name__ == "__main__":
    sys.exit(main())
