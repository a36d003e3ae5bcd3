"""How far behind each partition is, and how long frames take in each stage, minute by minute.

Times are counted in bins, which of several agents add up; a quantile is at most 9 % above what was measured.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store.buckets import minute
from agent.store.rows import insert, insert_sums
from agent.store.tables import lag_minute, stage_minute

STAGES = ("decode", "score", "evidence", "record", "decision")  # of a frame, in their order
PER_DOUBLING = 8  # bins
Place = tuple[int, int]  # stream id, partition
Bin = tuple[str, int]  # stage, bin


@dataclass(frozen=True, slots=True)
class Latency:
    """How long `n` frames took in one stage, in milliseconds."""

    n: int
    p50: float
    p95: float


def bin_of(ms: float) -> int:
    """The bin of a time."""
    return math.floor(PER_DOUBLING * math.log2(1 + max(0.0, ms)))


def upper(bin: int) -> float:
    """The end of a bin, in milliseconds."""
    return float(2 ** ((bin + 1) / PER_DOUBLING)) - 1


def note(conn: Connection, lags: Mapping[Place, int], counts: Mapping[Bin, int], now: datetime) -> None:
    """Records the lags as they are now, and adds counts of times, to the minute of `now`."""
    start = minute(now)
    if lags:
        rows = [{"start": start, "stream_id": s, "partition": p, "lag": lag} for (s, p), lag in sorted(lags.items())]
        new = insert(conn, lag_minute).values(rows)
        key = ["start", "stream_id", "partition"]
        conn.execute(new.on_conflict_do_update(index_elements=key, set_={"lag": new.excluded.lag}))
    if counts:
        add = insert_sums(conn, stage_minute, ("start", "stage", "bin"), ("n",))
        conn.execute(add, [{"start": start, "stage": s, "bin": b, "n": n} for (s, b), n in sorted(counts.items())])


def lags(conn: Connection, since: datetime) -> dict[Place, list[tuple[datetime, int]]]:
    """The lag of each partition by minute since then, oldest first."""
    row, found = lag_minute.c, defaultdict(list)
    query = sa.select(row.stream_id, row.partition, row.start, row.lag).where(row.start >= since)
    for stream_id, partition, start, lag in conn.execute(query.order_by(row.start)):
        found[stream_id, partition].append((start, int(lag)))
    return dict(found)


def latencies(conn: Connection, since: datetime) -> dict[str, Latency]:
    """How long frames took in each stage since then."""
    row = stage_minute.c
    query = sa.select(row.stage, row.bin, sa.func.sum(row.n)).where(row.start >= since)
    bins: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for stage, number, n in conn.execute(query.group_by(row.stage, row.bin).order_by(row.stage, row.bin)):
        bins[stage].append((number, int(n)))
    return {stage: _latency(found) for stage, found in bins.items()}


def _latency(bins: list[tuple[int, int]]) -> Latency:
    total = sum(n for _, n in bins)
    return Latency(total, *(_quantile(bins, math.ceil(share * total)) for share in (0.5, 0.95)))


def _quantile(bins: list[tuple[int, int]], rank: int) -> float:
    so_far = accumulate(n for _, n in bins)
    return next(upper(number) for (number, _), seen in zip(bins, so_far, strict=True) if seen >= rank)
