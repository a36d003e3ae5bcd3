"""The chore that follows every product at every station, page by page, and raises `drift`.

Source of the method: goodpart's model.md, "Drift", and what model/statistics/drift.py and betting.py name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.base import Alarms
from agent.alerts.standing import Said, follow
from agent.drift.following import Following, Raised
from agent.metrics import Metrics
from agent.phrases import Phrase
from agent.settings import Settings
from agent.store import alerts, audit, drift, epochs, products, stations, trends
from agent.store.drift import Alarm, Calibration, Frame, Kept, Position, Reference, odds
from agent.store.engine import reading, writing
from agent.store.trends import DecidedRate
from model.statistics import Drift

log = structlog.get_logger()
EVERY_S = 60.0
KIND = "drift"
DELAY = timedelta(seconds=60)  # younger frames wait: others with an earlier event time may still be committed
FARTHEST = timedelta(days=1)  # what is older, and was not read by then, is not read any more
PAGE = 5000  # frames of one transaction
TURN_S = 5.0


@dataclass(frozen=True, slots=True)
class Names:
    """Of products and stations that are not retired, by id."""

    products: Mapping[int, str]
    stations: Mapping[int, str]

    def hold(self, one: Alarm | DecidedRate) -> bool:
        """Whether it is of these."""
        return one.product_id in self.products and one.station_id in self.stations


@dataclass(frozen=True, slots=True)
class Step:
    """What a page's frames did to one product's watch, and how many of them it counted."""

    reference: Reference
    frames: int
    before: Raised | None
    after: Following

    @property
    def raised(self) -> Raised | None:
        """The alarm that they raised."""
        return self.after.alarm if self.after.alarm != self.before else None


class DriftWatch:
    """Reads what was inspected since its last turn. Any number of agents may: each page is counted once.

    Counted are frames that the live deployment decided under its certificate, as parts. Where an epoch has cut that
    certificate's calibration set off, there is nothing to compare with: the product waits for its next certificate.
    What is committed out of order, later than DELAY after its event time, is left out.

    Args:
        engine: the database.
        settings: drift.
        alarms: takes `drift`; it ends with the next deployment or cutting epoch, or once CALM parts were as certified.
        metrics: counts parts and alarms.
        page: frames read at once.
        monotonic: seconds.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        alarms: Alarms,
        metrics: Metrics,
        *,
        page: int = PAGE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._wanted, self._alarms, self._metrics = engine, settings.drift, alarms, metrics
        self._page, self._monotonic = page, monotonic
        self._calibrations: dict[int, Calibration | None] = {}  # by deployment

    def check(self, now: datetime) -> None:
        """Reads for one turn, the station that is farthest behind first.

        Raises:
            StoreError: the database is away; what was read until then is kept.
        """
        end = self._monotonic() + TURN_S
        with reading(self._engine) as conn:
            names = Names(
                {one.id: one.name for one in products.all(conn)}, {one.id: one.name for one in stations.all(conn)}
            )
            found = self._stations(conn, now - FARTHEST, names)
            read = drift.positions(conn)
        for station_id in sorted(found, key=lambda one: read[one].event_at if one in read else now - FARTHEST):
            while self._monotonic() < end and self._turn(station_id, found[station_id], names, now):
                pass
        self._tell(names)

    def _stations(self, conn: Connection, since: datetime, names: Names) -> dict[int, dict[int, Reference]]:
        """What was decided lately by what can be compared: references by station and product."""
        references = drift.references(conn)
        live = {one.deployment_id for one in references.values()}
        self._calibrations = {
            one: self._calibrations[one] if one in self._calibrations else drift.calibration(conn, one) for one in live
        }
        found: dict[int, dict[int, Reference]] = {}
        for one in trends.decided_rates(conn, since):
            reference = references.get(one.product_id) if names.hold(one) else None
            if reference and reference.deployment_id == one.deployment_id and self._calibrations[one.deployment_id]:
                found.setdefault(one.station_id, {})[one.product_id] = reference
        return found

    def _turn(self, station_id: int, wanted: Mapping[int, Reference], names: Names, now: datetime) -> bool:
        """Reads one page of a station; whether there is more."""
        first = max(now - FARTHEST, min(one.live_from for one in wanted.values()))
        with reading(self._engine) as conn:
            kept, before = drift.at_station(conn, station_id)
            after = max(before, Position(first, 0, 0, -1)) if before else Position(first, 0, 0, -1)
            frames = drift.page(conn, station_id, after, now - DELAY, self._page)
        if not frames:
            return False
        steps = [self._step(one, station_id, kept.get(product_id), frames) for product_id, one in wanted.items()]
        opening = {one.reference: one.raised for one in steps if one.raised} if self._wanted.opens_epoch else {}
        with writing(self._engine) as conn:
            if opening:
                audit.take_turn(conn)  # before any row, as everybody who changes what calibrates
            if not drift.take_turn(conn, station_id, before):
                return False  # another agent was faster
            place = frames[-1].position
            for one in steps:
                ids = {"deployment_id": one.reference.deployment_id, "epoch_id": one.reference.epoch_id}
                drift.save(conn, one.reference.product_id, station_id, place, now, **ids, **one.after.to_row())
            drift.move(conn, station_id, place)
            for reference, alarm in opening.items():
                _open_epoch(conn, reference, alarm, names.stations[station_id], now)
        for one in steps:
            self._count(one, names.products[one.reference.product_id], names.stations[station_id])
        return len(frames) == self._page

    def _step(self, reference: Reference, station_id: int, row: Kept | None, frames: list[Frame]) -> Step:
        known = self._calibrations[reference.deployment_id]
        assert known is not None

        def begin(stream: int) -> Drift:
            seed = (reference.product_id << 20) + station_id
            return Drift.begin(known.scores, alpha=self._wanted.alpha, seed=seed, stream=stream)

        state: Following | None = None
        if row and row.of(reference):
            try:
                state = Following.from_row(row)
            except ValueError as error:
                log.warning("drift_begins_anew", product=reference.product_id, station=station_id, problem=str(error))
        if state is None:
            stream = row.stream + 1 if row else 1
            state = Following(begin(stream), known.unit, {}, max(reference.live_from, frames[0].position.event_at))
        mine = [
            one
            for one in frames
            if one.deployment_id == reference.deployment_id
            and one.p_value is not None
            and one.position.event_at >= reference.live_from  # the camera's clock may be behind ours
        ]
        return Step(reference, len(mine), state.alarm, state.take(mine, begin))

    def _count(self, step: Step, product: str, station: str) -> None:
        self._metrics.drift_frames.labels(product, station).inc(step.frames)
        if step.raised:
            self._metrics.drift_alarms.labels(product, station).inc()
            numbers = {"stream": step.raised.stream, "parts": step.raised.n, "log_evidence": step.raised.log_e}
            log.warning("drift_alarm", product=product, station=station, at=step.raised.at.isoformat(), **numbers)

    def _tell(self, names: Names) -> None:
        with reading(self._engine) as conn:
            found, standing = drift.alarms(conn), alerts.standing(conn)
        follow(self._alarms, standing, KIND, dict(_said(one, names) for one in found if names.hold(one)))


def _open_epoch(conn: Connection, reference: Reference, alarm: Raised, station: str, now: datetime) -> None:
    """Opens one unless there is another model by now, or somebody has opened one."""
    if drift.references(conn).get(reference.product_id) == reference:
        words = Phrase(
            "scores at {station} changed, evidence {evidence} after {n} parts",
            station=station, evidence=odds(alarm.log_e), n=alarm.n,
        )  # fmt: skip
        epochs.open(conn, reference.product_id, "drift", words, at=alarm.at, now=now)


def _said(alarm: Alarm, names: Names) -> tuple[str, Said]:
    product, station = names.products[alarm.product_id], names.stations[alarm.station_id]
    evidence, n = odds(alarm.numbers["log_e"]), alarm.numbers["n"]
    then = (
        Phrase("an epoch was opened: review its audit items")
        if alarm.cut
        else Phrase("look at its latest parts, then `goodpart epochs open {product}`", product=product)
    )
    words = Phrase(
        "scores of {product} at {station} no longer look like those it was certified on (evidence {evidence} after "
        "{n} parts): lighting, camera or material changed, or defects became more frequent; {then}",
        product=product, station=station, evidence=evidence, n=n, then=then,
    )  # fmt: skip
    return f"station:{station} product:{product}", Said(words, detail={"at": alarm.at.isoformat(), **alarm.numbers})
