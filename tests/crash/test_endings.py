"""What a round says of the ends of its agents."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent import failpoints
from tests.crash.endings import Endings
from tests.crash.plant import Agent

STARTED = json.dumps({"event": "agent_started", "level": "info"})
FAILED = json.dumps({"event": "pipeline_failed", "level": "error"})
NO_BROKER = "agent.sources.base.SourceUnreachableError: kafka.bootstrap: no Kafka broker answers at 127.0.0.1:9092"
NO_DATABASE = "agent.store.errors.Unreachable: postgresql://x cannot be used: connection refused; check database.url"


def agent(folder: Path, program: str, *said: str, armed: str = "") -> Agent:
    """A process in place of an agent: it runs a line of Python, and has logged this."""
    made = Agent.__new__(Agent)
    made.environ, made.began = {failpoints.VARIABLE: armed}, time.time()
    made.log = (folder / "agent-0.log").open("w+b")
    made.log.write("".join(f"{line}\n" for line in said).encode())
    made.log.flush()
    made.process = subprocess.Popen([sys.executable, "-S", "-c", program])
    if "sleep" not in program:
        made.process.wait()
    return made


KILLED = "import os; os.kill(os.getpid(), 9)"
SLEEPS = "import time; time.sleep(60)"


@pytest.mark.parametrize(
    ("program", "said", "armed", "number", "cause"),
    [
        (KILLED, [STARTED], "commit.begin:1", None, "killed at its point"),
        (KILLED, [STARTED], "commit.begin:1:STOP", None, None),
        (KILLED, [STARTED], "", None, None),
        (SLEEPS, [STARTED], "", signal.SIGKILL, "killed"),
        (SLEEPS, [], "", signal.SIGTERM, "asked while Python loaded"),
        (SLEEPS, [STARTED], "", signal.SIGTERM, None),
        ("exit(0)", [STARTED], "", None, None),
        ("exit(1)", [NO_BROKER], "", None, "started without its broker"),
        ("exit(1)", [STARTED, NO_BROKER], "", None, None),
        ("exit(1)", [NO_BROKER, FAILED], "", None, None),
        ("exit(1)", [NO_DATABASE], "", None, None),
        ("exit(1)", [STARTED, NO_BROKER], "", signal.SIGKILL, None),
    ],
)
def test_an_end_has_somebody_who_saw_to_it_or_fails_the_round(
    tmp_path: Path, program: str, said: list[str], armed: str, number: signal.Signals | None, cause: str | None
) -> None:
    endings = Endings()
    with endings.without("broker"):
        one = agent(tmp_path, program, *said, armed=armed)
    try:
        if cause is None:
            with pytest.raises(AssertionError, match="nobody ended it"):
                endings.end(one, number)
        else:
            endings.end(one, number)
    finally:
        one.end(signal.SIGKILL)
    assert [ending.cause for ending in endings.found] == [cause]


def test_a_server_that_was_away_at_another_time_is_no_excuse(tmp_path: Path) -> None:
    endings = Endings()
    with endings.without("broker"):
        pass
    with pytest.raises(AssertionError, match="nobody ended it"):
        endings.end(agent(tmp_path, "exit(1)", NO_BROKER))


@pytest.mark.parametrize("said", [FAILED, "Exception in thread chores (most recent call last):"])
def test_a_round_whose_agents_went_wrong_inside_has_failed(tmp_path: Path, said: str) -> None:
    log = tmp_path / "agent-0.log"
    log.write_text(f"{STARTED}\n")
    Endings().check([log])
    log.write_text(f"{STARTED}\n{said}\n")
    with pytest.raises(AssertionError, match="agent-0"):
        Endings().check([log])
