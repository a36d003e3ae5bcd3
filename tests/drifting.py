"""A plant for drift watches: a product whose model was certified on known scores, and its inspections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from agent.drift.watch import DELAY, DriftWatch
from agent.metrics import Metrics
from agent.settings import Drift, Settings
from agent.store import alerts, buckets, certificates, drift, epochs, inspections, registry, trends
from agent.store.drift import Kept
from agent.store.engine import reading, writing
from agent.store.tables import rollup_quarter
from tests.alarms import Noted
from tests.databases import NOW, Line, add_blob

CERTIFIED = tuple(np.random.default_rng(1).normal(size=299).tolist())


class Plant:
    """A product whose model was certified on CERTIFIED, and its inspections, one a second from NOW on."""

    def __init__(self, here: Line) -> None:
        self.here, self.alarms, self.offset = here, Noted(here.engine), 0
        with writing(here.engine) as conn:
            self.epoch_id = epochs.open(conn, here.product_id, "import", "imported images", now=NOW).id
        self.deployment_id = self.deploy(1, self.epoch_id)

    def deploy(
        self,
        number: int,
        epoch_id: int,
        scores: Sequence[float] = CERTIFIED,
        at: datetime = NOW,
        product_id: int | None = None,
    ) -> int:
        with writing(self.here.engine) as conn:
            version = registry.add_version(
                conn, product_id=product_id or self.here.product_id, artifact_sha256=add_blob(conn, number),
                teacher="none", manifest={}, now=at,
            )  # fmt: skip
            record = {
                "look": 1, "n": len(scores), "calibration_sha256": "c" * 64, "review_threshold": 1.5,
                "scores": sorted(scores), "unit": "part",
            }  # fmt: skip
            row = certificates.add(conn, version_id=version.id, epoch_id=epoch_id, record=record, now=at)
            made = registry.promote(
                conn, version_id=version.id, certificate_id=row, config_hash="0" * 64, reason="test", by=None, now=at
            )
        self.deployment_id = made.id
        return made.id

    def inspect(self, scores: Sequence[float] | np.ndarray[Any, Any], station: int | None = None, **given: Any) -> None:
        """Inspections of the next seconds, and their sums."""
        values: dict[str, Any] = {
            "deployment_id": self.deployment_id, "station_id": station or self.here.station_id, **given,
        }  # fmt: skip
        rows = [
            self.here.inspection(self.offset + n, **{"score": float(one), **values}) for n, one in enumerate(scores)
        ]
        self.offset += len(rows)
        with writing(self.here.engine) as conn:
            inspections.add_all(conn, rows)
            sums = {f"n_{one}": len(rows) * (one == "pass") for one in ("pass", "review", "reject", "not_inspected")}
            key = (rows[-1].station_id, rows[-1].product_id, rows[-1].deployment_id or 0)
            if key not in {
                (one.station_id, one.product_id, one.deployment_id) for one in trends.decided_rates(conn, NOW)
            }:
                conn.execute(
                    sa.insert(rollup_quarter).values(
                        start=buckets.quarter(rows[-1].event_at), station_id=key[0], product_id=key[1], lot="",
                        deployment_id=key[2], n_late=0, sum_latency_ms=0.0, **sums,
                    )
                )  # fmt: skip

    def chore(self, page: int = 5000, metrics: Metrics | None = None, **given: Any) -> DriftWatch:
        settings = Settings(drift=Drift(**given))
        return DriftWatch(
            self.here.engine, settings, self.alarms, metrics or Metrics(), page=page, monotonic=lambda: 0.0
        )

    @property
    def now(self) -> datetime:
        """When all that was inspected may be read."""
        return NOW + timedelta(seconds=self.offset) + DELAY

    def row(self, station: int | None = None) -> Kept:
        with reading(self.here.engine) as conn:
            return drift.at_station(conn, station or self.here.station_id)[0][self.here.product_id]

    def standing(self) -> list[tuple[str, str]]:
        with reading(self.here.engine) as conn:
            return [(one.kind, one.subject) for one in alerts.standing(conn)]
