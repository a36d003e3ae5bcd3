"""A watch for tests: two certified models on a small line, parts that they flag, and people who review them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from agent.service import reviews
from agent.settings import Settings
from agent.store import audit, certificates, items, registry, watches
from agent.store.engine import reading, writing
from agent.store.registry import Deployment, ModelVersion
from agent.store.rows import values
from agent.store.tables import item
from agent.store.watches import Score, Watch
from agent.watching.judge import Judge
from tests.alarms import Noted
from tests.databases import NOW, Line, add_blob, sha

RATE = 0.05  # of both certificates
HASH = "0" * 64


class Shot(NamedTuple):
    """One part: what decides flags it, the other model does, and what it is. `reviewed`: whether people said so."""

    flagged: bool
    other: bool
    truth: str = "normal"
    reviewed: bool = True


@dataclass
class Watched:
    """A line on which v2 decides, and v1 did before; `offset` counts its frames."""

    line: Line
    alarms: Noted
    notices: list[int]
    offset: int = 0

    @classmethod
    def on(cls, line: Line, *, watch_share: float = 0.2) -> Watched:
        made = cls(line, Noted(line.engine), [])
        with writing(line.engine) as conn:
            for number in (1, 2):
                made.promote(conn, made.version(conn, number), watch_share=watch_share)
            add_blob(conn, 0)
        return made

    def version(self, conn: Connection, number: int, *, certified: bool = True) -> ModelVersion:
        """A candidate, whose artifact is the blob of 1000 + number, and its certificate."""
        artifact = add_blob(conn, 1000 + number)
        made = registry.add_version(
            conn, product_id=self.line.product_id, artifact_sha256=artifact, teacher="none", manifest={}, now=NOW
        )
        record = {
            "look": 1, "n": 82, "calibration_sha256": HASH, "certified_review_rate": RATE,
            "review_threshold": 1.5 if certified else None,
        }  # fmt: skip
        certificates.add(conn, version_id=made.id, record=record, now=NOW)
        return made

    def promote(self, conn: Connection, version: ModelVersion, **how: Any) -> Deployment:
        """As the gate does, or a person where `by` says who."""
        given: dict[str, Any] = {"reason": "test", "by": None, "now": NOW, "watch_share": 0.2, "config_hash": HASH}
        certificate_id = certificates.of_version(conn, version.id)[0].id
        return registry.promote(conn, version_id=version.id, certificate_id=certificate_id, **(given | how))

    @property
    def watch(self) -> Watch:
        """The newest one."""
        with reading(self.line.engine) as conn:
            return watches.all(conn, self.line.product_id)[0]

    @property
    def live(self) -> Deployment:
        """What decides now."""
        with reading(self.line.engine) as conn:
            found = registry.live(conn, self.line.product_id)
        assert found is not None
        return found

    def see(self, shots: Sequence[Shot], part: str | None = None) -> None:
        """The recorder's and people's work for parts of one frame each, or one `part`, in large transactions."""
        watch_id, first = self.watch.id, self.offset
        self.offset += len(shots)
        with writing(self.line.engine) as conn:
            scores = [self._score(watch_id, first + i, shot, part) for i, shot in enumerate(shots)]
            watches.add_scores(conn, scores)
            rows = [
                values(self.line.new_item(first + i, frame_sha256=sha(0), watched=True, event_at=_at(first + i)))
                | {"state": "closed" if shot.reviewed else "open", "decision": shot.truth if shot.reviewed else None}
                for i, shot in enumerate(shots)
                if shot.flagged or shot.other
            ]
            if rows:
                conn.execute(sa.insert(item), rows)

    def review(self, truths: Sequence[Shot], first: int) -> None:
        """An operator closes the open items of the parts from `first` on."""
        for i, shot in enumerate(truths):
            if shot.flagged or shot.other:
                with reading(self.line.engine) as conn:
                    found = items.at(conn, self.line.stream_id, 0, first + i)
                assert found is not None
                reason = "scratch" if shot.truth == "defect" else None
                reviews.decide(
                    self.line.engine, self.line.operator, found.id, shot.truth, reason, key=f"k{first + i}", now=NOW
                )

    @property
    def actions(self) -> list[str]:
        """What the audit trail, which must be whole, says was done; oldest first."""
        with reading(self.line.engine) as conn:
            assert audit.verify(conn) is None
            return [event.action for event in audit.recent(conn)][::-1]

    @property
    def states(self) -> dict[int, str]:
        """The state of each version, by number."""
        with reading(self.line.engine) as conn:
            return {one.number: one.state for one in registry.versions(conn, self.line.product_id)}

    def judge(self, **sections: Any) -> Judge:
        """A chore of one agent."""
        given = {"watch": {"parts": 400, "defects": 5}, "shadow": {"parts": 300}} | sections
        settings = Settings.model_validate(given)
        return Judge(self.line.engine, settings, self.alarms, notify=self.notices.append)

    def _score(self, watch_id: int, offset: int, shot: Shot, part: str | None) -> Score:
        return Score(
            watch_id, self.line.stream_id, 0, offset, _at(offset), self.line.station_id,
            part or f"part-{offset}",
            shot.flagged, shot.other, 2.0, 1.0,
        )  # fmt: skip


def stream(
    n: int, *, seed: int, flag: float = 0.0, other: float = 0.0, defects: float = 0.0, seen: float = 0.9,
    other_seen: float = 0.9,
) -> list[Shot]:  # fmt: skip
    """A seeded stream of parts, flagged independently.

    Args:
        n: parts.
        seed: of the draws.
        flag, other: how often what decides, and the other model, flag good parts.
        defects: share of parts that are.
        seen, other_seen: how often the two flag a defect.
    """
    rng = np.random.default_rng(seed)
    defect, one, two = rng.random(n) < defects, rng.random(n), rng.random(n)
    return [
        Shot(bool(a < (seen if bad else flag)), bool(b < (other_seen if bad else other)), "defect" if bad else "normal")
        for bad, a, b in zip(defect, one, two, strict=True)
    ]


def _at(offset: int) -> Any:
    return NOW + timedelta(seconds=offset)
