"""Stations and products by name, as the database has them now: they change while the agent runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine

from agent.frame import BadHeader, Envelope
from agent.pipeline.patience import Patience
from agent.pipeline.work import Place
from agent.settings import Settings
from agent.store import products, stations
from agent.store.engine import reading

REFRESH_S = 1.0


class Directory:
    """A cache of at most a second. A name it misses is looked up again before it counts as unknown. Thread-safe."""

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
        self._products: dict[str, products.Product] = {}
        self._names: dict[int, str] = {}

    def place(self, envelope: Envelope, arrived: float) -> Place:
        """The frame's station and product.

        Args:
            envelope: what its headers say.
            arrived: when the frame came in, monotonic seconds.

        Raises:
            BadHeader: the station or the product is not registered, or no product can be told.
        """
        with self._lock:
            if self._monotonic() - self._read_at > REFRESH_S:
                self._refresh()
            try:
                return self._place(envelope)
            except BadHeader:
                # What was registered before the frame came in must be known by now.
                if self._read_at >= arrived:
                    raise
            self._refresh()
            return self._place(envelope)

    def _refresh(self) -> None:
        started = self._monotonic()

        def read() -> tuple[list[stations.Station], list[products.Product]]:
            with reading(self._engine) as conn:
                return list(stations.all(conn)), list(products.all(conn))

        found_stations, found_products = self._patience.call(read, "database")
        self._stations = {one.name: one for one in found_stations if one.retired_at is None}
        self._products = {one.name: one for one in found_products if one.retired_at is None}
        self._names = {one.id: one.name for one in found_products}
        self._read_at = started

    def _place(self, envelope: Envelope) -> Place:
        station = self._stations.get(envelope.station)
        if station is None:
            raise BadHeader(f"station {envelope.station!r} is not registered; goodpart stations add it")
        runs = self._names.get(station.product_id) if station.product_id is not None else None
        name = envelope.product or runs or self._settings.kafka.product
        if not name:
            raise BadHeader(f"the frame names no product, and station {station.name!r} runs none")
        product = self._products.get(name)
        if product is None:
            raise BadHeader(f"product {name!r} is not registered; goodpart products add it")
        rate = self._settings.audit.rate if station.audit_rate is None else station.audit_rate
        return Place(
            station_id=station.id,
            station=station.name,
            product_id=product.id,
            product=product.name,
            audit_rate=rate,
            failures=station.failures_in_row,
            blind=station.status == "blind",
        )
