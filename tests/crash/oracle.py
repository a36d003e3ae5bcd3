"""What must hold once a round is over: nothing lost, nothing doubled, nothing left over, whatever was pulled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from agent.pipeline.decisions import event_id
from agent.store import audit, drawing, items, offsets, outbox
from agent.store.buckets import hour, minute, quarter
from agent.store.engine import reading
from agent.store.install import install_of
from agent.store.local_blobs import LocalBlobs
from agent.store.score_bins import bin_of
from agent.store.tables import (
    blob,
    data_gap,
    dead_letter,
    deployment,
    frame_seen,
    inspection,
    item,
    rollup_hour,
    rollup_minute,
    rollup_quarter,
    score_bin,
    stream,
)
from tests.crash.plan import AUDITED, FRAMES
from tests.crash.plant import rows, totals

VERDICTS = ("pass", "review", "reject", "not_inspected")
BLOBS = (
    "frame_sha256", "heatmap_sha256", "preview_sha256", "overlay_sha256", "thumbnail_sha256", "other_overlay_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Oracle:
    """Looks at what a round left behind; every check raises AssertionError.

    Attributes:
        engine: the round's database.
        store: its blobs.
        ends: the log's end by partition.
        said: id and JSON of all decisions on the topic, with repetitions.
        logs: what each agent logged, JSON lines read.
    """

    engine: Engine
    store: LocalBlobs
    ends: Mapping[int, int]
    said: Sequence[tuple[str, bytes]]
    logs: Sequence[Sequence[Mapping[str, Any]]]

    def check(self) -> None:
        """All of it."""
        self.counts()
        self.decisions()
        self.rollups()
        self.score_bins()
        self.items()
        self.blobs()
        self.deployments()
        with reading(self.engine) as conn:
            assert outbox.depth(conn) == 0
            assert audit.verify(conn) is None

    def counts(self) -> None:
        """Each frame has one outcome, one decision, and is behind the offset that reading goes on with."""
        counts = totals(self.engine)
        assert counts.received == FRAMES, counts
        assert counts.balanced, counts
        frames, letters = rows(self.engine, inspection), rows(self.engine, dead_letter)
        once = {f"f{number}": 1 for number in range(FRAMES) if number % 10 != 7}
        assert Counter(row.frame_id for row in frames) == once
        assert Counter(row.frame_id for row in rows(self.engine, frame_seen)) == once
        dead = [row for row in letters if row.counted]
        assert len(dead) == len({(row.partition, row.offset) for row in dead}) == FRAMES // 10
        with reading(self.engine) as conn:
            assert {one.partition: one.next_offset for one in offsets.partitions(conn)} == self.ends
        assert rows(self.engine, data_gap) == []

    def decisions(self) -> None:
        """The topic says of each frame what the database has, however often it says so."""
        (log,) = rows(self.engine, stream)
        dead = [row for row in rows(self.engine, dead_letter) if row.counted]
        wanted = {
            event_id(log.topic_id, row.partition, row.offset): (
                row.frame_id, row.verdict, row.reason, row.score, row.p_value, row.deployment_id, row.decided_at,
            )
            for row in rows(self.engine, inspection)
        }  # fmt: skip
        refused = {event_id(log.topic_id, row.partition, row.offset): row.reason for row in dead}
        told = {of: json.loads(value) for of, value in self.said}
        assert len(set(self.said)) == len(told), "a decision is sent again as it was"
        assert told.keys() == wanted.keys() | refused.keys()
        for of, row in wanted.items():
            said = told[of]
            names = ("frame_id", "verdict", "reason", "score", "p_value", "deployment")
            assert (*(said[name] for name in names), datetime.fromisoformat(said["decided_at"])) == row, of
        for of, reason in refused.items():
            assert (told[of]["verdict"], told[of]["reason"]) == ("not_inspected", reason), of

    def rollups(self) -> None:
        """Each of their rows counts what the inspections of its place and time say."""
        seen = rows(self.engine, inspection)
        for rollup, start_of in ((rollup_minute, minute), (rollup_quarter, quarter), (rollup_hour, hour)):
            wanted: dict[tuple[Any, ...], Counter[str]] = {}
            for row in seen:
                key = (start_of(row.event_at), row.station_id, row.product_id, row.deployment_id or 0)
                wanted.setdefault(key, Counter()).update({row.verdict: 1, "late": int(row.late)})
            found: dict[tuple[Any, ...], Counter[str]] = {}
            for row in rows(self.engine, rollup):
                key = (row.start, row.station_id, row.product_id, row.deployment_id)
                sums = {one: getattr(row, f"n_{one}") for one in (*VERDICTS, "late")}
                found.setdefault(key, Counter()).update(sums)
            assert found == wanted, rollup.name

    def items(self) -> None:
        """Each frame that is flagged or failed has one, and each that is drawn for the audit, and no other."""
        with reading(self.engine) as conn:
            secret, queue = install_of(conn).secret, items.counts(conn)
        wanted: dict[str, str] = {}
        for number in (one for one in range(FRAMES) if one % 10 != 7):
            name = f"f{number}"
            if number % 10 == 5:
                wanted[name] = "failed"
            elif drawing.draws(secret, name, AUDITED):
                wanted[name] = "audit"
            elif number % 10 == 3:
                wanted[name] = "flagged"
        found = rows(self.engine, item)
        assert sorted((row.frame_id, row.kind) for row in found) == sorted(wanted.items())
        verdicts = {row.frame_id: row.verdict for row in rows(self.engine, inspection)}
        assert all(row.verdict == verdicts[row.frame_id] for row in found)
        assert "pass" in {row.verdict for row in found if row.kind == "audit"}, "no part that passed was drawn"
        assert queue.open_audit == list(wanted.values()).count("audit"), queue

    def blobs(self) -> None:
        """What an item or a dead letter names is there, with the bytes that its hash says."""
        stored = {row.sha256 for row in rows(self.engine, blob) if row.state == "stored"}
        named: list[tuple[Any, tuple[str, ...]]] = [(row, BLOBS) for row in rows(self.engine, item)]
        named += [(row, ("blob_sha256", "preview_sha256")) for row in rows(self.engine, dead_letter)]
        for row, names in named:
            for name in names:
                sha256 = getattr(row, name)
                assert sha256 is None or (sha256 in stored and self.store.get(sha256)), (row.offset, name)
        for row in rows(self.engine, blob):
            # A sweep may be cut off anywhere, but for this.
            assert row.state != "stored" or self.store.size(row.sha256) == row.bytes, row.sha256

    def score_bins(self) -> None:
        """They count what the inspections say; days are cut in UTC, the default."""
        scored = [row for row in rows(self.engine, inspection) if row.severity is not None]
        wanted = Counter((row.event_at.date(), bin_of(row.severity)) for row in scored)
        found = Counter[tuple[Any, int]]()
        for row in rows(self.engine, score_bin):
            found[row.day, row.bin] += row.n
        assert found == wanted

    def deployments(self) -> None:
        """What decided was live by then, and no agent goes back to what it had before.

        Agents take a promotion up at their own time, so that a partition which changes hands may see the older one
        again: only within one agent the order of decisions is that of the deployments. Which agent recorded a frame is
        read from the claims in their logs. One that died before it could log a claim recorded nothing under it.
        """
        live_from = {row.id: row.live_from for row in rows(self.engine, deployment)}
        scored = [row for row in rows(self.engine, inspection) if row.verdict != "not_inspected"]
        for row in scored:
            assert live_from[row.deployment_id] <= row.decided_at, row
        by_agent: dict[int, list[tuple[datetime, int]]] = {}
        for row in scored:
            by_agent.setdefault(self._recorded_by(row), []).append((row.decided_at, row.deployment_id))
        for number, decided in by_agent.items():
            used = [deployment_id for _, deployment_id in sorted(decided)]
            assert used == sorted(used), f"agent {number} went back to an older deployment: {used}"

    def _recorded_by(self, row: Any) -> int:
        claims = [
            (event["epoch"], number)
            for number, log in enumerate(self.logs)
            for event in log
            if event["event"] == "partition_claimed"
            and event["partition"] == row.partition
            and event["offset"] <= row.offset
        ]
        return max(claims)[1]
