"""An agent's memory behind a long lag, beside its memory with hardly any, and the bound that docs/stream.md states.

`python -m bench.memory [--frames 20000] [--kilobytes 50]`: raw frames, one in seven flagged, on four partitions of an
Apache Kafka of its own, an agent process without torch whose scorer takes 1 ms a frame and makes maps of 1 MiB. The log
needs frames x kilobytes of disk.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from kafka import KafkaProducer
from sqlalchemy import Engine

from agent.daemon import FETCH_SHARE
from agent.demo.broker import create_topics
from agent.frame import RAW, RawFormat
from agent.pipeline.pictures import PREVIEW
from agent.settings import Kafka, Pipeline
from agent.store.local_blobs import LocalBlobs
from tests.apache_kafka import UNPROVEN, apache_kafka, is_here
from tests.crash.plant import Agent, totals
from tests.databases import database
from tests.streams import DEFECT, GOOD, headers, seed, until

PARTITIONS = 4
LIMITS = Pipeline(queue_mb=16, queue_frames=256, max_age_s=86400)
COPIES = 8  # of what a broker sends at once: 5 while kafka-python takes it apart, 1 in flight, the rest the allocator's
OBJECTS = 16 << 10  # bytes of a frame's headers, decision and bookkeeping
FEW = 100  # frames, one after the other
WIDTH = 250  # pixels
CANVAS = 512  # pixels of a side of a map
FLAGGED = 7  # one in so many
DRAWING = 48  # bytes a pixel of the preview while its pictures are drawn


@dataclass(frozen=True, slots=True)
class Peaks:
    """Most bytes of physical memory with one frame at a time, and behind `lag` frames; what the bound adds."""

    quiet: int
    behind: int
    lag: int
    bound: int

    @property
    def added(self) -> int:
        """What the lag cost."""
        return self.behind - self.quiet


def bound(limits: Pipeline, frame: int, pixels: int, canvas: int, brokers: int = 1) -> int:
    """Bytes beyond those of an agent with nothing in flight.

    Args:
        limits: the section [pipeline].
        frame: bytes of the largest record.
        pixels: of the largest picture.
        canvas: pixels of a map.
        brokers: those that lead partitions which this agent reads.
    """
    queue = limits.queue_mb << 20  # frames as received, and decoded with their maps
    fetched = brokers * COPIES * (queue // FETCH_SHARE + frame)
    picture, scored = 3 * pixels + 4 * canvas, limits.batch_size * 4 * canvas
    pictures = (limits.decode_threads + limits.evidence_threads) * picture  # not counted until they are decoded
    drawn = limits.evidence_threads * DRAWING * min(pixels, PREVIEW**2)
    return queue + fetched + pictures + scored + drawn + limits.queue_frames * OBJECTS


def measure(bootstrap: str, folder: Path, engine: Engine, *, lag: int, kilobytes: int, least: int) -> Peaks:
    """Runs an agent on single frames, and another one that starts `lag` frames behind, until it recorded `least`."""
    topic = f"memory-{uuid4().hex[:8]}"
    create_topics(Kafka(bootstrap=bootstrap), {topic: PARTITIONS, f"{topic}-decisions": 1})
    seed(engine, LocalBlobs(folder / "blobs"))
    with _agent(folder, bootstrap, engine, topic) as agent:
        until(lambda: "partition_claimed" in agent.said(), 60, check=agent.check)
        _publish(bootstrap, topic, range(FEW), kilobytes, singly=True)
        until(lambda: totals(engine).received >= FEW, 60, check=agent.check)
        quiet = peak(agent)
    _publish(bootstrap, topic, range(FEW, FEW + lag), kilobytes)
    with _agent(folder, bootstrap, engine, topic) as agent:
        until(lambda: totals(engine).received >= FEW + least, 60 + lag / 10, check=agent.check)
        return Peaks(quiet, peak(agent), lag, bound(LIMITS, kilobytes * 1000, kilobytes * 1000, CANVAS**2))


def peak(agent: Agent) -> int:
    """Most physical memory that the process ever had, in bytes (Linux)."""
    lines = Path(f"/proc/{agent.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


@contextmanager
def _agent(folder: Path, bootstrap: str, engine: Engine, topic: str) -> Iterator[Agent]:
    given = {
        "GOODPART_KAFKA__FRAMES_TOPIC": topic,
        "GOODPART_KAFKA__DECISIONS_TOPIC": f"{topic}-decisions",
        "GOODPART_PIPELINE__QUEUE_MB": str(LIMITS.queue_mb),
        "GOODPART_PIPELINE__QUEUE_FRAMES": str(LIMITS.queue_frames),
        "GOODPART_PIPELINE__MAX_AGE_S": str(LIMITS.max_age_s),
        "SCORING_DELAY_S": "0.001",
        "CANVAS": str(CANVAS),
    }
    agent = Agent(folder, bootstrap, engine, **given)
    try:
        yield agent
    finally:
        agent.end(signal.SIGKILL)


def _publish(bootstrap: str, topic: str, numbers: range, kilobytes: int, *, singly: bool = False) -> None:
    good, bad = (np.full(kilobytes * 1000, value, np.uint8).tobytes() for value in (GOOD, DEFECT))
    raw = RawFormat(WIDTH, kilobytes * 1000 // WIDTH, "Mono8")
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks=1, linger_ms=0 if singly else 5)
    for number in numbers:
        head = headers(f"f{number}", content_type=RAW, raw=raw)
        value = good if number % FLAGGED else bad
        sent = producer.send(topic, value=value, headers=head, partition=number % PARTITIONS)
        if singly:
            sent.get(10)
    producer.flush(300)
    producer.close()


def main() -> None:
    """Prints the two peaks and the bound."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--kilobytes", type=int, default=50)
    options = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    if not is_here():
        raise SystemExit(UNPROVEN)
    with tempfile.TemporaryDirectory() as name, database(folder := Path(name)) as engine:
        needed, free = options.frames * options.kilobytes * 1000, shutil.disk_usage(folder).free
        if free < 2 * needed:
            raise SystemExit(f"{folder} has {free >> 20} MiB free; the log needs {needed >> 20}, take fewer frames")
        with apache_kafka() as broker:
            peaks = measure(
                broker.bootstrap, folder, engine, lag=options.frames, kilobytes=options.kilobytes, least=options.frames
            )
    print("| lag, frames | peak, MiB | beyond one at a time, MiB | bound, MiB |\n|---|---|---|---|")
    print(f"| 1 | {peaks.quiet >> 20} | | |")
    print(f"| {peaks.lag:,} | {peaks.behind >> 20} | {peaks.added >> 20} | {peaks.bound >> 20} |")


if __name__ == "__main__":
    main()
