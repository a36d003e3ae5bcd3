"""The demo's books: what was published, what the database says became of it, what was decided on the wire."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import numpy as np
import sqlalchemy as sa
from kafka import KafkaConsumer, TopicPartition
from sqlalchemy import Engine

from agent.settings import Kafka
from agent.sources import broker
from agent.store import offsets, outbox
from agent.store.engine import reading
from agent.store.offsets import Counts
from agent.store.tables import inspection


@dataclass(frozen=True, slots=True)
class Line:
    """One status line: the identity's five counters, the flagged, the lag in frames, the speed."""

    published: int
    counts: Counts
    flagged: int
    frames_per_s: float
    p99_latency_ms: float

    def __str__(self) -> str:
        counts = self.counts
        return (
            f"received {counts.received}  inspected {counts.inspected}  flagged {self.flagged}  "
            f"not inspected {counts.not_inspected}  dead-lettered {counts.dead_lettered}  "
            f"lag {self.published - counts.received}  {self.frames_per_s:.1f} frames/s  "
            f"p99 latency {self.p99_latency_ms:.0f} ms"
        )


class Accounts:
    """Reads the books of a running demo. One thread."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._last = (monotonic(), 0)

    def line(self, published: int, since: datetime) -> Line:
        """Where the line stands now; speed since the last call, latency of what was decided since `since`."""
        with reading(self._engine) as conn:
            counts = offsets.totals(conn)
            recent = conn.execute(
                sa.select(inspection.c.latency_ms).where(inspection.c.decided_at >= since)
            ).scalars().all()  # fmt: skip
            flagged = conn.execute(
                sa.select(sa.func.count()).where(inspection.c.verdict.in_(("review", "reject")))
            ).scalar_one()
        now, before = monotonic(), self._last
        self._last = (now, counts.received)
        return Line(
            published,
            counts,
            flagged,
            (counts.received - before[1]) / max(now - before[0], 1e-9),
            float(np.percentile(recent, 99)) if recent else 0.0,
        )

    def open_work(self, published: int) -> bool:
        """Whether a published frame is not decided yet, or a decision not yet on the wire."""
        with reading(self._engine) as conn:
            return offsets.totals(conn).received < published or outbox.depth(conn) > 0

    def first_decision(self) -> tuple[str, str] | None:
        """Frame id and verdict of the first inspection; None while there is none."""
        with reading(self._engine) as conn:
            row = conn.execute(
                sa.select(inspection.c.frame_id, inspection.c.verdict).order_by(inspection.c.decided_at).limit(1)
            ).first()
        return (row.frame_id, row.verdict) if row else None


@dataclass(frozen=True, slots=True)
class Audit:
    """What does not add up at the end of a run; empty where all does."""

    counts: Counts
    problems: tuple[str, ...]


def audit(engine: Engine, kafka: Kafka, published: Collection[str]) -> Audit:
    """Holds the published frame ids against the inspections and the decisions on the wire.

    Decisions are at least once on the wire; consumers tell repeats by `ce_id`, and so does this.
    """
    with reading(engine) as conn:
        counts = offsets.totals(conn)
        rows = Counter(conn.execute(sa.select(inspection.c.frame_id)).scalars())
    decided = Counter(frame for _, frame in decisions(kafka))
    checks = (
        (counts.balanced, f"the accounting identity does not hold: {counts}"),
        (counts.received == len(published), f"{len(published)} frames published, {counts.received} received"),
        *_once(rows, published, "inspection row"),
        *_once(decided, published, "decision on the wire"),
    )
    return Audit(counts, tuple(problem for holds, problem in checks if not holds))


def _once(found: Counter[str], published: Collection[str], what: str) -> list[tuple[bool, str]]:
    missing = sum(1 for frame in published if not found[frame])
    twice = sum(1 for frame in published if found[frame] > 1)
    return [
        (missing == 0, f"{missing} published frames have no {what}"),
        (twice == 0, f"{twice} published frames have more than one {what}"),
    ]


def decisions(kafka: Kafka) -> set[tuple[str, str]]:
    """Every (ce_id, frame id) on the decisions topic from its start to its present end."""
    topic = kafka.decisions_topic
    consumer: Any = broker.connect(KafkaConsumer, kafka, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        consumer.seek_to_beginning(*partitions)
        found: set[tuple[str, str]] = set()
        deadline = monotonic() + 60
        while any(consumer.position(one) < ends[one] for one in partitions) and monotonic() < deadline:
            for records in consumer.poll(timeout_ms=500).values():
                for record in records:
                    headers = {name: value.decode() for name, value in record.headers}
                    found.add((headers["ce_id"], json.loads(record.value)["frame_id"]))
        return found
    finally:
        consumer.close()
