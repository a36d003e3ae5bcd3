"""Named points at which a test can kill this process; where none is armed, passing one does nothing.

`GOODPART_FAILPOINT=NAME:N` ends the process with SIGKILL when it passes NAME for the N-th time: no handler, no
`finally`, no flush. `NAME:N:STOP` stops it with SIGSTOP there, until it gets SIGCONT.
"""

from __future__ import annotations

import os
import signal
from threading import Lock

VARIABLE = "GOODPART_FAILPOINT"
NAMES = (
    "claim.begin", "claim.written", "claim.done",
    "blob.pending", "blob.put", "blob.stored",
    "commit.begin", "commit.offset", "commit.inspections", "commit.written", "commit.done",
    "broker.commit", "broker.committed", "outbox.read", "outbox.published", "outbox.deleted",
    "sweep.marked", "sweep.deleted", "sweep.forgotten",
    "swap.begin", "swap.done",
)  # fmt: skip

TRAINING = ("train.frozen", "train.step", "train.kept", "train.verdict", "train.recorded")  # of a training's process

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
if _name and _name not in NAMES + TRAINING:
    raise ValueError(f"{VARIABLE}: there is no point {_name!r}; {', '.join(NAMES + TRAINING)} are")
_count, _, _how = _count.partition(":")
_left = int(_count or 1)
_signal = signal.SIGSTOP if _how == "STOP" else signal.SIGKILL
_lock = Lock()


def passing(name: str) -> None:
    """Marks a point; ends or stops the process where it is the armed one and was passed often enough."""
    global _left
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), _signal)
