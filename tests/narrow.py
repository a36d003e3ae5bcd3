"""Narrow learners, for tests of what is around a training: one fits, and is stored, in a fraction of the time.

`python -m tests.narrow` is the child process of a training run that makes such a learner.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from agent.retrain import child, job
from model import bottleneck, student


@contextmanager
def narrow() -> Iterator[None]:
    """Inside, learners are narrow, here and in the runs' children of this process."""
    with (
        patch.object(bottleneck, "CODE", 64),
        patch.object(bottleneck, "THIN", (16, 32)),
        patch.object(student, "CODE", 64),
        patch.object(student, "PLANES", (32, 16, 16)),
        patch.object(child, "JOB", "tests.narrow"),
    ):
        yield


if __name__ == "__main__":
    with narrow():
        sys.exit(job.main(sys.argv[1:]))
