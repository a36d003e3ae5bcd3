"""Agent processes, the frames they are given, and what became of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from sqlalchemy import Engine

from agent.store import offsets
from agent.store.engine import reading
from agent.store.offsets import Counts
from tests.streams import DEFECT, GOOD, corrupt, frame, headers, until

FRAMES, DECISIONS = "frames", "decisions"
PARTITIONS = 2


class Agent:
    """One agent process."""

    def __init__(self, folder: Path, bootstrap: str, engine: Engine, **environ: str) -> None:
        given = {
            "GOODPART_DATABASE__URL": engine.url.render_as_string(hide_password=False),
            "GOODPART_BLOBS__DIRECTORY": str(folder / "blobs"),
            "GOODPART_KAFKA__BOOTSTRAP": bootstrap,
            "GOODPART_KAFKA__FRAMES_TOPIC": FRAMES,
            "GOODPART_KAFKA__DECISIONS_TOPIC": DECISIONS,
            "GOODPART_KAFKA__SESSION_TIMEOUT_S": "3",
            "GOODPART_KAFKA__HEARTBEAT_S": "1",
            "GOODPART_REDIS__URL": "",
            "GOODPART_AGENT__PORT": "0",
            "GOODPART_AUDIT__RATE": "0",
            "GOODPART_PIPELINE__QUEUE_FRAMES": "24",
            "GOODPART_LOG__FORMAT": "json",
        }
        self.environ, self.began = environ, time.time()
        self.log = (folder / f"agent-{len(list(folder.glob('agent-*.log')))}.log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.agent_process"],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **given, **environ},
            stdout=self.log,
            stderr=self.log,
        )

    def check(self) -> None:
        assert self.process.poll() is None, f"the agent ended with {self.process.returncode}:\n{self.said()}"

    def said(self) -> str:
        return Path(self.log.name).read_text()[-4000:]

    def events(self) -> list[dict[str, Any]]:
        return events(Path(self.log.name))

    @property
    def stands_still(self) -> bool:
        """Whether the process is stopped."""
        try:
            state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2]
        except OSError:
            return False
        return state.startswith("T")

    def say_where(self) -> None:
        """Has a process that is still there write into its log where each of its threads is."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
            until(lambda: self.process.poll() is not None or "most recent call first" in self.said())

    def end(self, number: signal.Signals, within_s: float = 30) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(within_s)
        self.log.close()
        return code


def events(log: Path) -> list[dict[str, Any]]:
    """What an agent logged; its last line may be cut off."""
    lines = log.read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def publish(bootstrap: str, numbers: range, topic: str = FRAMES) -> None:
    """Frames f0, f1, ...: of every ten one flagged, one corrupt, one with a bad header; no two of these alike."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=False)
    good = frame(GOOD)
    for number in numbers:
        if number >= numbers.stop - PARTITIONS:
            producer.flush(20)  # the last ones go alone: tansu's end counts the last batch as one record
        head = headers(f"f{number}", station="nowhere" if number % 10 == 7 else "s1")
        own = b"%d" % number
        # A decoder stops at the picture's end: what follows makes other bytes, and so another blob.
        value = {3: frame(DEFECT) + own, 5: corrupt() + own, 7: good + own}.get(number % 10, good)
        producer.send(topic, value=value, headers=head, partition=number % PARTITIONS)
    producer.flush(20)
    producer.close()


def decisions(bootstrap: str, at_least: int, topic: str = DECISIONS) -> list[tuple[str, bytes]]:
    """Id and JSON of all decisions on the topic, repetitions too, once there are so many different ones."""
    reader = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    reader.assign([TopicPartition(topic, 0)])
    found: list[tuple[str, bytes]] = []

    def enough() -> bool:
        for records in reader.poll(100).values():
            found.extend((dict(one.headers)["ce_id"].decode(), one.value) for one in records)
        return len(set(found)) >= at_least

    try:
        until(enough, 60)
    except AssertionError as error:
        # Whether some were lost, or the reader stands still.
        end = reader.end_offsets([TopicPartition(topic, 0)])
        error.add_note(f"{len(set(found))} of {at_least} decisions; {len(found)} records read, the log: {end}")
        raise
    finally:
        reader.close()
    return found


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """Where the log ends, by partition."""
    reader = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        found = reader.end_offsets([TopicPartition(topic, partition) for partition in range(PARTITIONS)])
        return {one.partition: end for one, end in found.items()}
    finally:
        reader.close()


def totals(engine: Engine) -> Counts:
    with reading(engine) as conn:
        return offsets.totals(conn)


def rows(engine: Engine, table: sa.Table) -> list[Any]:
    with reading(engine) as conn:
        return list(conn.execute(sa.select(table)))
