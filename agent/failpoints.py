"""Named points at which a test can kill this process; where none is armed, passing one does nothing.

`GOODPART_FAILPOINT=NAME:N` ends the process with SIGKILL when it passes NAME for the N-th time: no handler, no
`finally`, no flush.
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
    "broker.commit", "outbox.read", "outbox.published", "outbox.deleted",
    "sweep.marked", "sweep.deleted", "sweep.forgotten",
    "swap.begin", "swap.done",
)  # fmt: skip

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
if _name and _name not in NAMES:
    raise ValueError(f"{VARIABLE}: there is no point {_name!r}; {', '.join(NAMES)} are")
_left = int(_count or 1)
_lock = Lock()


def passing(name: str) -> None:
    """Marks a point; ends the process where it is the armed one and was passed often enough."""
    global _left
    if name != _name:
        return
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
