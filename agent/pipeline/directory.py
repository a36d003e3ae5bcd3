"""Stations and products by name, as the database has them now: they change while the agent runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine

from agent.frame import BadHeader, Envelope
from agent.pipeline.patience import Patience
from agent.pipeline.work import Place, Work
from agent.settings import Settings
from agent.store import changeovers, drawing, lapses, products, stations, teachings
from agent.store.engine import reading

REFRESH_S = 1.0
LAPSES_S = 30.0  # whose certificate has lapsed and lacks parts takes counting, and changes with days


class Directory:
    """A cache of at most a second. A name it misses is looked up again before it counts as unknown. Thread-safe.

    A certificate that lapses, or no longer is, is known within half a minute.
    What a station runs is looked up for each lane: it holds as long as the lane's claim, and not for another one's.
    """

    def __init__(
        self,
        engine: Engine,
        patience: Patience,
        settings: Settings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._patience = patience
        self._settings = settings
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._stations: dict[str, stations.Station] = {}
        self._products: dict[str | int, products.Product] = {}
        self._teachings: dict[int, teachings.Teaching] = {}
        self._burst: frozenset[int] = frozenset()  # products of which more parts are drawn for their next certificate
        self._lapses_at = float("-inf")

    def place(self, work: Work, envelope: Envelope) -> Place:
        """The frame's station and product, as they are registered.

        Raises:
            BadHeader: the station or the product is not registered, or no product can be told.
            AbandonedError: the agent stops at once.
        """
        with self._lock:
            if self._monotonic() - self._read_at > REFRESH_S:
                self._refresh()
            try:
                return self._place(work, envelope)
            except BadHeader:
                # What was registered before the frame came in must be known by now.
                if self._read_at >= work.arrived:
                    raise
            self._refresh()
            return self._place(work, envelope)

    def station(self, name: str) -> stations.Station | None:
        """The registered station of that name, as it was a second ago at the earliest.

        Raises:
            AbandonedError: the agent stops at once.
        """
        with self._lock:
            if self._monotonic() - self._read_at > REFRESH_S:
                self._refresh()
            return self._stations.get(name)

    def _refresh(self) -> None:
        started = self._monotonic()
        counts = started - self._lapses_at > LAPSES_S

        def read() -> tuple[list[stations.Station], list[products.Product], list[teachings.Teaching], frozenset[int]]:
            with reading(self._engine) as conn:
                burst = lapses.bursting(conn, self._settings.certificate) if counts else self._burst
                return stations.all(conn), products.all(conn), teachings.all(conn), burst

        found_stations, found_products, found_teachings, self._burst = self._patience.call(read, "database")
        if counts:
            self._lapses_at = started
        self._stations = {one.name: one for one in found_stations}
        self._products = {name: one for one in found_products for name in (one.name, one.id)}
        self._teachings = {one.product_id: one for one in found_teachings}
        self._read_at = started

    def _taught(self, product_id: int) -> bool:
        """Whether its frames need no model; one that is taught and has none here yet is just being loaded."""
        found = self._teachings.get(product_id)
        return found is not None and (found.unfinished or found.state == "done")

    def _place(self, work: Work, envelope: Envelope) -> Place:
        station = self._stations.get(envelope.station)
        if station is None:
            raise BadHeader("station {station!r} is not registered; goodpart stations add it", station=envelope.station)
        product = self._product(work, envelope, station)
        rate = drawing.rate_at(station.audit_rate, self._settings.audit, bursts=product.id in self._burst)
        teaching = self._teachings.get(product.id)
        return Place(
            station_id=station.id,
            station=station.name,
            product_id=product.id,
            product=product.name,
            audit_rate=rate,
            taught=self._taught(product.id),
            collects=teaching is not None and (teaching.state, teaching.station_id) == ("collecting", station.id),
        )

    def _product(self, work: Work, envelope: Envelope, station: stations.Station) -> products.Product:
        runs = None if envelope.product else self._runs(work, station.id)
        if runs is not None:
            if runs not in self._products:
                raise BadHeader(
                    "station {station!r} runs a retired product; goodpart stations set another", station=station.name
                )
            return self._products[runs]
        name = envelope.product or self._settings.kafka.product
        if not name:
            raise BadHeader("the frame names no product, and station {station!r} runs none", station=station.name)
        if name not in self._products:
            raise BadHeader("product {product!r} is not registered; goodpart products add it", product=name)
        return self._products[name]

    def _runs(self, work: Work, station_id: int) -> int | None:
        offset, claim = work.record.offset, work.lane.claim
        span = work.lane.runs.get(station_id)
        if span is None or offset not in span:

            def read() -> changeovers.Span:
                with reading(self._engine) as conn:
                    return changeovers.span(conn, station_id, claim.stream_id, claim.partition, offset)

            # Read after the claim was committed, and any later changeover voids the claim.
            span = work.lane.runs[station_id] = self._patience.call(read, "database")
        return span.product_id
