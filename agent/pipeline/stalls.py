"""Partitions that stand still: with frames in flight of which none is recorded, or with a log that cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.alerts.base import Alarms
from agent.alerts.condition import Condition
from agent.health import Health
from agent.phrases import Phrase
from agent.pipeline.gap import partition_subject
from agent.pipeline.intake import Intake
from agent.pipeline.record import Recorder

STALL_S = 60.0


class Stalls:
    """Looks at each partition by itself: what the others do excuses none.

    Frames in flight that stand still are the agent's fault, and a new one may read them again: not live. What cannot be
    read is paused, and no new agent reads it either: not ready.

    Args:
        recorder: has the lanes.
        intake: knows what cannot be read.
        health: an outage excuses what is in flight, and the time after it begins anew.
        alarms: takes `partition_stalled`.
        agent: its name.
        claim_wait_s: how long a frame may wait for its picture; STALL_S begins after that.
    """

    def __init__(
        self,
        recorder: Recorder,
        intake: Intake,
        health: Health,
        alarms: Alarms,
        *,
        agent: str,
        claim_wait_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recorder, self._intake, self._health, self._alarms = recorder, intake, health, alarms
        self._agent, self._claim_wait_s, self._monotonic = agent, claim_wait_s, monotonic
        self._told: dict[str, Condition] = {}  # by the partition's subject

    def stuck(self) -> str | None:
        """What makes the agent not live. Thread-safe."""
        return "; ".join(self._stuck().values()) or None

    def unread(self) -> str | None:
        """What makes it not ready. Thread-safe."""
        return "; ".join(self._intake.unreadable(STALL_S).values()) or None

    def tell(self) -> None:
        """Raises and ends the alerts. For one thread."""
        found = (
            self._intake.unreadable(STALL_S)
            | self._intake.leaderless(STALL_S)
            | {
                subject: Phrase(
                    "{agent}: {problem}. Restart it if it does not go on", agent=self._agent, problem=problem
                )
                for subject, problem in self._stuck().items()
            }
        )
        for subject in found:
            self._told.setdefault(subject, Condition(self._alarms, "partition_stalled", subject))
        for subject, condition in self._told.items():
            condition.look(found.get(subject), level="error")
        self._told = {subject: self._told[subject] for subject in found}

    def _stuck(self) -> dict[str, Phrase]:
        well_s, now, found = self._health.well_s(), self._monotonic(), dict[str, Phrase]()
        for partition, lane in list(self._recorder.lanes.items()):
            n, idle_s = len(lane.window), min(well_s, now - lane.moved)
            if n and idle_s > STALL_S + self._claim_wait_s:
                found[partition_subject(lane.key, partition)] = Phrase(
                    "{n} frames of partition {partition} of {topic} are in flight and none was recorded for "
                    "{seconds:.0f} s",
                    n=n, partition=partition, topic=lane.key.topic, seconds=idle_s,
                )  # fmt: skip
        return found
