"""How agents end, and whether somebody saw to it: what ends by itself, but for a start without its servers, is a bug.

An agent that runs outlives every outage (promise 8). One that starts while the broker or the database is away ends, and
says which of the two does not answer; its service manager starts it again.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent import failpoints
from tests.crash.plant import Agent, events

AWAY = {  # the last words of an agent that starts while one of them is
    "broker": ("no Kafka broker answers", "is starting still", "does not answer as it should"),
    "database": ("cannot be used:",),
}
AT_ITS_POINT = "killed at its point"
TOLD = frozenset({"alert_opened"})  # of the plant, not of the agent
LOST = "Exception in thread"  # Python's own words: nobody catches what ended it


@dataclass(frozen=True, slots=True)
class Ending:
    """How one agent ended.

    Attributes:
        code: its exit status.
        last: the last event that it logged.
        cause: who saw to it; None where nobody did.
    """

    code: int
    last: str
    cause: str | None


@dataclass
class Endings:
    """Those of a round.

    Attributes:
        away: which server was away from when to when, seconds since 1970.
        found: every agent's end, in order.
    """

    away: list[tuple[str, float, float]] = field(default_factory=list)
    found: list[Ending] = field(default_factory=list)

    @contextmanager
    def without(self, server: str) -> Iterator[None]:
        """It is away meanwhile."""
        began = time.time()
        try:
            yield
        finally:
            self.away.append((server, began, time.time()))

    def end(self, agent: Agent, number: signal.Signals | None = None) -> Ending:
        """Ends an agent by a signal, or looks at one that has ended by itself.

        Raises:
            AssertionError: nobody saw to it that it ended so, or it does not end.
        """
        gone = agent.process.poll() is not None
        try:
            code = agent.end(number or signal.SIGKILL)
        except subprocess.TimeoutExpired as error:
            agent.say_where()
            raise AssertionError(f"an agent does not end: {error}, {agent.said()}") from error
        said = agent.events()
        ending = Ending(
            code, said[-1]["event"] if said else "", self._cause(agent, code, None if gone else number, said)
        )
        self.found.append(ending)
        assert ending.cause, f"nobody ended it: {ending}, {Path(agent.log.name).name}: {agent.said()}"
        return ending

    def check(self, logs: list[Path]) -> None:
        """No thread ended by itself, nothing that an agent does went wrong for a reason it does not know.

        Raises:
            AssertionError: it did.
        """
        for log in logs:
            failed = [one for one in events(log) if one.get("level") == "error" and one["event"] not in TOLD]
            assert not failed, f"{log.name}: {failed}"
            assert LOST not in log.read_text(), f"{log.name}: a thread ended: {log.read_text()[-4000:]}"

    @property
    def causes(self) -> Counter[str]:
        """How often each was."""
        return Counter(f"{one.cause} ({one.code})" for one in self.found)

    def _cause(self, agent: Agent, code: int, number: signal.Signals | None, said: list[dict[str, Any]]) -> str | None:
        armed, starting = agent.environ[failpoints.VARIABLE], "agent_started" not in {one["event"] for one in said}
        if code == -signal.SIGKILL:
            if number == signal.SIGKILL:
                return "killed"
            return AT_ITS_POINT if armed and not armed.endswith(":STOP") else None
        if number == signal.SIGTERM and code == 0:
            return "asked"
        if number == signal.SIGTERM and code == -signal.SIGTERM and not said:
            return "asked while Python loaded"
        if code == 1 and starting:
            words = agent.said().splitlines()[-1:]
            for server, began, over in self.away:
                met = agent.began < over and Path(agent.log.name).stat().st_mtime > began
                if met and any(one in line for line in words for one in AWAY[server]):
                    return f"started without its {server}"
        return None
