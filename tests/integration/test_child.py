"""A child ends with its agent, however that ended and whatever the child does meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from agent import settings as settings_module
from tests import stubborn
from tests.integration.retrain_parts import tiny, until

AGENT = """
import os
from agent import settings
from agent.retrain import child
child.spawn(settings.load(None, os.environ), "tests.stubborn").wait()
"""


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("killed", ["before the child begins", "while it works"])
def test_a_child_that_looks_at_nothing_ends_with_its_killed_agent(tmp_path: Path, killed: str) -> None:
    files = {name: tmp_path / name for name in (stubborn.STARTED, stubborn.BEGUN, stubborn.GO_ON)}
    given = settings_module.environment(tiny(tmp_path)) | {name: str(path) for name, path in files.items()}
    agent = subprocess.Popen([sys.executable, "-c", AGENT], env=os.environ | given)
    pid = None
    try:
        until(files[stubborn.STARTED].exists)
        pid = int(files[stubborn.STARTED].read_text())
        if killed == "while it works":
            files[stubborn.GO_ON].touch()
            until(files[stubborn.BEGUN].exists)
            assert not gone(pid)
        agent.send_signal(signal.SIGKILL)
        agent.wait()
        files[stubborn.GO_ON].touch()
        until(lambda: gone(pid or 0))
    finally:
        agent.kill()
        agent.wait()
        if pid is not None and not gone(pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
