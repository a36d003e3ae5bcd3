"""One partition's transaction of 64 frames against the bare insertion of their inspection rows."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from agent.frame import StreamKey
from agent.store import inspections, offsets, outbox, products, registry, score_bins, seen, stations, trends
from agent.store.engine import open_engine, upgrade, writing
from agent.store.inspections import Inspection
from agent.store.offsets import Claim, Counts
from agent.store.outbox import NewDecision
from agent.store.tables import blob
from bench.row import Row, per_second

FRAMES = 64
START = datetime(2026, 1, 1, tzinfo=UTC)


def rows() -> list[Row]:
    """Frames per second, committed with synchronous=FULL."""
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder)) as engine:
        line = _Line(engine)
        whole = per_second(line.whole, FRAMES, repeats=20)
        bare = per_second(line.bare, FRAMES, repeats=20)
    return [
        Row("commit, SQLite, 64 frames a transaction", whole, "frames/s", f"only their rows: {bare:,.0f}", whole / bare)
    ]


@contextmanager
def _database(folder: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{folder / 'bench.db'}")
    upgrade(engine)
    try:
        yield engine
    finally:
        engine.dispose()


def deployed(conn: Connection, product_id: int, number: int = 0) -> int:
    """Promotes a model of no weights for a product; `number` tells its artifact from others. The deployment's id."""
    artifact = f"{number:064d}"
    conn.execute(sa.insert(blob).values(sha256=artifact, bytes=1, media_type="x/x", state="stored", touched_at=START))
    version = registry.add_version(
        conn, product_id=product_id, artifact_sha256=artifact, teacher="none", manifest={}, now=START
    )
    return registry.promote(
        conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="bench", by=None, now=START
    ).id


class _Line:
    def __init__(self, engine: Engine):
        self._engine = engine
        self._rng = random.Random(0)
        with writing(engine) as conn:
            self._product = products.add(conn, "part", now=START)
            self._station = stations.add(conn, "station", product_id=self._product.id, now=START)
            stream = offsets.stream_id(conn, StreamKey("c", "t", "frames"), START)
            self._deployment = deployed(conn, self._product.id)
            self._claim: Claim = offsets.claim(conn, stream, 0, holder="bench", start=0, now=START)
        self._loose = 1_000_000_000

    def _rows(self, first: int) -> list[Inspection]:
        return [
            Inspection(
                event_at=START + timedelta(milliseconds=offset), stream_id=self._claim.stream_id, partition=0,
                offset=offset, frame_id=f"frame-{offset}", station_id=self._station.id, product_id=self._product.id,
                serial=f"part-{offset}", lot=None, verdict="pass", reason=None, score=1.0, p_value=0.5,
                severity=self._rng.gauss(-1.5, 0.7), deployment_id=self._deployment, captured_at=START,
                decided_at=START, latency_ms=20.0, score_ms=10.0, late=False, clock_suspect=False,
            )
            for offset in range(first, first + FRAMES)
        ]  # fmt: skip

    def whole(self) -> None:
        """Everything that a partition's transaction holds for passed frames."""
        first = self._claim.next_offset
        found = self._rows(first)
        with writing(self._engine) as conn:
            counts = Counts(received=FRAMES, inspected=FRAMES)
            self._claim = offsets.advance(conn, self._claim, first + FRAMES, counts, START)
            seen.add_all(conn, [(row.station_id, row.frame_id, START) for row in found], START)
            inspections.add_all(conn, found)
            trends.add_inspections(conn, found)
            score_bins.add_inspections(conn, found, UTC)
            outbox.add_all(
                conn, [NewDecision(row.stream_id, 0, row.offset, "station", b"{}" * 200, START) for row in found]
            )

    def bare(self) -> None:
        """Only the inspection rows."""
        self._loose += FRAMES
        with writing(self._engine) as conn:
            inspections.add_all(conn, self._rows(self._loose))
