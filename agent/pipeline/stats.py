"""The numbers on a person's screen: what became of frames, how far behind, how fast."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from agent.live import Live
from agent.store import offsets
from agent.store.engine import reading
from agent.store.offsets import Counts
from agent.store.tables import rollup_quarter

RATE_S = 10.0
LATENCY_S = 60.0
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Stats:
    """One agent now; what its presence says. Counts are since its start.

    `lag` is frames on the claimed partitions that are not recorded, None while unknown; `rate` frames recorded per
    second over RATE_S; `p99_ms` from capture to commit over LATENCY_S, None where nothing was recorded.
    """

    agent: str
    received: int
    inspected: int
    not_inspected: int
    dead_lettered: int
    duplicate: int
    flagged: int
    lag: int | None
    rate: float
    p99_ms: float | None
    in_flight: int
    partitions: tuple[int, ...]
    ready: bool
    problems: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Line:
    """The whole installation now: totals from the database, speed from the agents that say they live.

    `lag`, `rate` and `p99_ms` are None where no agent says so (no agent, or no Redis).
    """

    counts: Counts
    flagged: int
    lag: int | None
    rate: float | None
    p99_ms: float | None
    agents: int
    ready: int

    @property
    def balanced(self) -> bool:
        """Whether the accounting identity holds."""
        return self.counts.balanced


def read_line(engine: Engine, live: Live) -> Line:
    """Reads the line's numbers from another process than the agent's.

    Raises:
        Unreachable: the database does not answer.
    """
    with reading(engine) as conn:
        counts = offsets.totals(conn)
        row = rollup_quarter.c
        flagged = conn.execute(sa.select(sa.func.coalesce(sa.func.sum(row.n_review + row.n_reject), 0))).scalar_one()
    agents = list(live.agents().values())
    rates = _numbers(agents, "rate")
    lags = _numbers(agents, "lag")
    return Line(
        counts=counts,
        flagged=int(flagged),
        lag=int(sum(lags)) if lags else None,
        rate=sum(rates) if rates else None,
        p99_ms=max(_numbers(agents, "p99_ms"), default=None),
        agents=len(agents),
        ready=sum(bool(one.get("ready")) for one in agents),
    )


class Meter:
    """Counts what the recorder commits. Thread-safe."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._started = monotonic()
        self._lock = threading.Lock()
        self._counts = Counts()
        self._flagged = 0
        self._commits: deque[tuple[float, int]] = deque(maxlen=_MOST)
        self._latencies: deque[tuple[float, float]] = deque(maxlen=_MOST)

    def add(self, counts: Counts, flagged: int, latencies_ms: Iterable[float]) -> None:
        """One transaction is committed."""
        now = self._monotonic()
        with self._lock:
            self._counts += counts
            self._flagged += flagged
            self._commits.append((now, counts.received))
            self._latencies.extend((now, latency) for latency in latencies_ms)

    def snapshot(self) -> tuple[Counts, int, float, float | None]:
        """Counts, flagged, rate per second and p99 in ms."""
        now = self._monotonic()
        with self._lock:
            since = max(now - RATE_S, self._started)
            recent = sum(n for at, n in self._commits if at >= since)
            latencies = [latency for at, latency in self._latencies if at >= now - LATENCY_S]
            return self._counts, self._flagged, recent / max(now - since, 1e-3), p99(latencies)


def p99(values: Sequence[float]) -> float | None:
    """The value that 99 % do not exceed; None of nothing."""
    return sorted(values)[-(len(values) // 100) - 1] if values else None


def _numbers(agents: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [float(one[name]) for one in agents if one.get(name) is not None]
