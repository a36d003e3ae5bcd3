"""The agent's stream with a scorer that costs nothing, against a bare kafka-python consumer on the same Apache Kafka.

`python -m bench.stream [--frames 2000]`: raw Mono8 and JPEG frames, 200 KB and 1 MB, 1 and 4 partitions, SQLite and
PostgreSQL; nothing is flagged. Both read the same records from a broker on this machine, one after the other. The
consumer is a process of its own, since the agent changes how its process keeps memory.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from time import monotonic, process_time
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from agent import allocator, logs
from agent.demo.broker import create_topics
from agent.frame import RawFormat
from agent.settings import Kafka
from agent.sources.kafka import KafkaSource
from bench.row import Row
from model.images import InputSpec
from tests import databases
from tests.apache_kafka import UNPROVEN, apache_kafka, is_here
from tests.databases import database
from tests.postgresql import PostgreSQL, postgresql
from tests.streams import FakeScored, FakeScorer, headers, running, settings

FETCH = 8 << 20  # bytes of a partition at once, as the agent's source asks for
NOTHING = np.zeros((64, 64), np.float32)


@dataclass(frozen=True, slots=True)
class Case:
    """What is streamed where."""

    kind: str
    side: tuple[int, int]
    partitions: int
    database: str


CASES = (
    Case("raw Mono8 200 KB", (400, 500), 1, "SQLite"),
    Case("raw Mono8 200 KB", (400, 500), 4, "SQLite"),
    Case("raw Mono8 200 KB", (400, 500), 4, "PostgreSQL"),
    Case("raw Mono8 1 MB", (1000, 1000), 4, "SQLite"),
    Case("JPEG", (400, 500), 4, "SQLite"),
)


@dataclass(frozen=True, slots=True)
class Speed:
    """Frames per second, and this process's CPU seconds per 1,000 frames: the broker's are not among them."""

    rate: float
    cpu_s: float


class Stopwatch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began, self._cpu_s = monotonic(), process_time()

    def speed(self, frames: int) -> Speed:
        """Of so many frames until now."""
        return Speed(frames / (monotonic() - self._began), (process_time() - self._cpu_s) * 1000 / frames)


class NullScorer(FakeScorer):
    """Every part is good, at once."""

    def score(self, frames: Sequence[Any]) -> list[FakeScored]:
        return [FakeScored(1.5, NOTHING) for _ in frames]


def rows(frames: int = 2000) -> list[Row]:
    """Frames per second, read, decoded and committed, and the ratio to a consumer that only reads."""
    if not is_here():
        print(UNPROVEN)
        return []
    with ExitStack() as stack:
        broker = stack.enter_context(apache_kafka())
        server = stack.enter_context(postgresql())
        return [_row(case, frames, Kafka(bootstrap=broker.bootstrap), server) for case in CASES]


def _row(case: Case, frames: int, kafka: Kafka, server: PostgreSQL) -> Row:
    count = frames // 4 if "1 MB" in case.kind else frames
    topic = f"bench-{uuid4().hex[:8]}"
    create_topics(kafka, {topic: case.partitions})
    _publish(case, count, kafka, topic)
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        bare = apart.submit(_bare, case, count, kafka, topic).result()
    ours = _ours(case, count, kafka, topic, server)
    what = f"stream, {case.kind}, {case.partitions} partition{'s' * (case.partitions > 1)}, {case.database}"
    cpu = f"CPU {ours.cpu_s:.2f} s against {bare.cpu_s:.2f} a 1,000 frames"
    return Row(what, ours.rate, "frames/s", f"bare consumer {bare.rate:,.0f}; {cpu}", ours.rate / bare.rate)


def _publish(case: Case, count: int, kafka: Kafka, topic: str) -> None:
    pixels = np.random.default_rng(0).integers(100, 156, case.side, np.uint8)
    raw, content_type, value = None, "image/jpeg", cv2.imencode(".jpg", pixels)[1].tobytes()
    if case.kind.startswith("raw"):
        raw, content_type, value = RawFormat(*case.side[::-1], "Mono8"), "application/x-goodpart-raw", pixels.tobytes()
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks=1, linger_ms=5, max_request_size=4 << 20)
    for number in range(count):
        head = headers(f"f{number}", content_type=content_type, raw=raw)
        producer.send(topic, value=value, headers=head, partition=number % case.partitions)
    producer.flush(120)
    producer.close()


def _bare(case: Case, count: int, kafka: Kafka, topic: str) -> Speed:
    consumer = KafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH, fetch_max_bytes=4 * FETCH,
    )  # fmt: skip
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(case.partitions)])
        first = got = sum(map(len, consumer.poll(60_000).values()))  # as for ours, connecting does not count
        watch = Stopwatch()
        while got < count:
            got += sum(map(len, consumer.poll(1000).values()))
        return watch.speed(count - first)
    finally:
        consumer.close()


def _ours(case: Case, count: int, kafka: Kafka, topic: str, server: PostgreSQL) -> Speed:
    given = {"bootstrap": kafka.bootstrap, "frames_topic": topic, "group_id": topic}
    with tempfile.TemporaryDirectory() as folder, _on(case, server), database(Path(folder)) as engine:
        wanted = settings(Path(folder), kafka=given, pipeline={"max_age_s": 86400})
        source = KafkaSource(wanted.kafka, group_id=topic)
        with running(engine, wanted, source, scorer=NullScorer(spec=InputSpec(64, 64))) as run:
            run.until(lambda: run.totals().received > 0, 60)
            first, watch = run.totals().received, Stopwatch()
            while (done := run.totals().received) < count:
                Event().wait(0.1)
            return watch.speed(done - first)


@contextmanager
def _on(case: Case, server: PostgreSQL) -> Iterator[None]:
    if case.database == "PostgreSQL":
        with databases.on(server):
            yield
    else:
        yield


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.stream", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    logs.configure("error", "console")
    allocator.keep_freed()
    print("| what | figure | against | ratio |\n|---|---|---|---|")
    for row in rows(options.frames):
        print(f"| {row.what} | {row.figure:,.0f} {row.unit} | {row.against} | {row.ratio:.2f} |")


if __name__ == "__main__":
    main()
