"""Memory of frames that are done is used again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from agent import allocator

def frames():
    return [np.ones(4 << 20, np.uint8) for _ in range(10)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    allocator.keep_freed()
frames()
before = faults()
frames()
print(faults() - before)
"""


def _faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is asked to keep memory")
def test_frames_that_come_later_fault_no_pages() -> None:
    given_back = _faults("given back")
    assert given_back > 1000
    assert _faults("kept") < given_back / 10
