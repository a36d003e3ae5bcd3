"""Two agents on four partitions beside one, and what becomes of the stream when one of them is killed.

`python -m bench.agents [--frames 6000]`: agent processes without torch whose scorer waits 10 ms a frame, on an Apache
Kafka and a PostgreSQL of its own. The goals: two carry at least 1.8 times the frames of one; after a SIGKILL the other
records frames of every partition within the session timeout and 3 s, and no frame is lost or decided twice.
"""

from __future__ import annotations

import argparse
import logging
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import uuid4

from kafka import KafkaProducer
from sqlalchemy import Engine

from agent.demo.broker import create_topics
from agent.settings import Kafka
from agent.store import offsets
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from agent.store.offsets import PartitionState
from agent.store.tables import inspection
from tests import databases
from tests.apache_kafka import UNPROVEN, apache_kafka, is_here
from tests.crash.plant import Agent, decisions, rows, totals
from tests.databases import database
from tests.postgresql import postgresql
from tests.streams import frame, headers, seed, until

PARTITIONS = 4
WAIT_S = 0.01  # of the scorer, a frame
SESSION_S = 6
WARM = 100  # frames before a rate is measured


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a SIGKILL cost.

    Attributes:
        seconds: until the other agent had recorded frames of every partition that the killed one held.
        frames: published.
        recorded: frames in the database.
        decided: different decisions on the topic.
        doubled: frames that were recorded more than once.
    """

    seconds: float
    frames: int
    recorded: int
    decided: int
    doubled: int


class Plant:
    """A topic with frames on it, and agents that read it."""

    def __init__(self, folder: Path, bootstrap: str, engine: Engine) -> None:
        self._folder, self._bootstrap, self.engine = folder, bootstrap, engine
        self._topic = f"agents-{uuid4().hex[:8]}"
        self.published = 0
        create_topics(Kafka(bootstrap=bootstrap), {self._topic: PARTITIONS, f"{self._topic}-decisions": 1})
        seed(engine, LocalBlobs(folder / "blobs"))

    def publish(self, count: int) -> None:
        """Good frames, on the partitions in turn."""
        good = frame()
        producer = KafkaProducer(bootstrap_servers=self._bootstrap, acks="all", linger_ms=5)
        for number in range(self.published, self.published + count):
            head = headers(f"f{number}")
            producer.send(self._topic, value=good, headers=head, partition=number % PARTITIONS)
        producer.flush(60)
        producer.close()
        self.published += count

    @contextmanager
    def agents(self, count: int) -> Iterator[Sequence[Agent]]:
        """Agents that share the partitions evenly."""
        given = {
            "GOODPART_KAFKA__FRAMES_TOPIC": self._topic, "GOODPART_KAFKA__DECISIONS_TOPIC": f"{self._topic}-decisions",
            "GOODPART_KAFKA__SESSION_TIMEOUT_S": str(SESSION_S), "GOODPART_PIPELINE__QUEUE_FRAMES": "256",
            "SCORING_DELAY_S": str(WAIT_S),
        }  # fmt: skip
        started = [Agent(self._folder, self._bootstrap, self.engine, **given) for _ in range(count)]
        try:
            self.until(lambda: self._shares() == [PARTITIONS // count] * count, started)
            yield started
        finally:
            for one in started:
                one.end(signal.SIGKILL)

    def partitions(self) -> list[PartitionState]:
        """How far each partition is, and who holds it."""
        with reading(self.engine) as conn:
            return offsets.partitions(conn)

    def until(self, condition: Callable[[], bool], agents: Sequence[Agent], seconds: float = 120) -> None:
        """Waits while these agents live."""

        def check() -> None:
            for one in agents:
                one.check()

        until(condition, seconds, check=check)

    def recorded(self) -> int:
        """Frames in the database."""
        return totals(self.engine).received

    def decided(self, at_least: int) -> int:
        """Different decisions on the topic, once there are so many."""
        return len(set(decisions(self._bootstrap, at_least, f"{self._topic}-decisions")))

    def _shares(self) -> list[int]:
        return list(Counter(one.holder for one in self.partitions()).values())


def rate(plant: Plant, count: int, frames: int) -> float:
    """Frames per second that so many agents record of a backlog of `frames`."""
    with plant.agents(count) as agents:
        first = plant.recorded()
        plant.publish(frames + WARM)
        plant.until(lambda: plant.recorded() >= first + WARM, agents)
        begun, began = plant.recorded(), monotonic()
        plant.until(lambda: plant.recorded() >= first + WARM + frames, agents, 60 + frames * 0.1)
        return (plant.recorded() - begun) / (monotonic() - began)


def takeover(plant: Plant, frames: int) -> Takeover:
    """Kills one of two agents in the middle of `frames`, and lets the other finish them."""
    with plant.agents(2) as (first, second):
        begun = plant.recorded()
        plant.publish(frames)
        plant.until(lambda: plant.recorded() >= begun + frames // 4, (first, second))
        first.end(signal.SIGKILL)
        killed = monotonic()
        left = {one.partition: one for one in plant.partitions()}

        def taken() -> bool:
            now = plant.partitions()
            holders = {one.holder for one in now}
            return len(holders) == 1 and all(one.next_offset > left[one.partition].next_offset for one in now)

        plant.until(taken, [second])
        seconds = monotonic() - killed
        plant.until(lambda: plant.recorded() >= plant.published, [second], 60 + frames * 0.1)
        decided = plant.decided(plant.published)
    seen = Counter(row.frame_id for row in rows(plant.engine, inspection))
    doubled = sum(n > 1 for n in seen.values())
    return Takeover(seconds, plant.published, len(seen), decided, doubled)


def main() -> None:
    """Prints the ratio and the take-over beside their goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.agents", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=6000, help="of each of the three parts")
    options = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    if not is_here():
        raise SystemExit(UNPROVEN)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(apache_kafka())
        stack.enter_context(databases.on(stack.enter_context(postgresql())))
        plant = Plant(folder, broker.bootstrap, stack.enter_context(database(folder)))
        one = rate(plant, 1, options.frames // 2)
        two = rate(plant, 2, options.frames)
        print(f"one agent {one:.1f} frames/s, two {two:.1f}: {two / one:.2f} times (goal: 1.8)", flush=True)
        found = takeover(plant, options.frames)
    print(
        f"killed one: the other had every partition after {found.seconds:.1f} s (goal: {SESSION_S} + 3); "
        f"{found.frames:,} published, {found.recorded:,} recorded, {found.decided:,} decided, {found.doubled} doubled"
    )


if __name__ == "__main__":
    main()
