"""What the store knows of every station now, in a few short queries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agent.live import Glance
from agent.settings import Settings
from agent.store import alerts, lapses, products, registry, station_work, stations, teachings, trends
from agent.store.alerts import Alert
from agent.store.buckets import minute
from agent.store.registry import Deployment
from agent.store.station_work import Picture
from agent.store.stations import Station
from agent.store.trends import ProductRate, StationRate

NOW, LATELY, DAY = timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)
QUARTERS = 4  # that a station ran in the last day, before its usual rate says anything
MOST = 500  # a station's waiting parts are counted up to here


@dataclass(frozen=True, slots=True)
class Floor:
    """The stations, and what is known of them by station id, or of their products by product id."""

    stations: Sequence[Station] = ()
    rates: Mapping[int, StationRate] = field(default_factory=dict)  # of the last minutes, `NOW`
    minutes: float = 5.0  # so long are these
    lately: Sequence[ProductRate] = ()  # of the last hour, `LATELY`
    usual: Mapping[int, float] = field(default_factory=dict)  # frames a minute
    products: Mapping[int, str] = field(default_factory=dict)
    live: Mapping[int, Deployment] = field(default_factory=dict)
    taught: Collection[int] = ()  # products
    lapsed: Collection[int] = ()  # products
    standing: Sequence[Alert] = ()
    waiting: Mapping[int, int] = field(default_factory=dict)
    pictures: Mapping[int, Picture] = field(default_factory=dict)  # the newest judged ones
    silent_after_s: float = 0.0  # of stations without a time of their own; 0: never
    glances: Mapping[int, Glance] = field(default_factory=dict)  # of whatever frame came last: from the live view


def usual_rates(conn: Connection, now: datetime) -> Mapping[int, float]:
    """Frames a minute of each station, as it ran in the last day; they change once in a quarter hour."""
    return trends.usual_rates(conn, now - DAY, now, QUARTERS)


def read(conn: Connection, settings: Settings, usual: Mapping[int, float], now: datetime) -> Floor:
    """Reads it; no query looks at inspections, or at sums that are older than an hour."""
    since = now - NOW
    return Floor(
        stations=stations.all(conn),
        rates={rate.station_id: rate for rate in trends.station_rates(conn, since)},
        minutes=(now - minute(since)).total_seconds() / 60,
        lately=trends.product_rates(conn, now - LATELY),
        usual=usual,
        products={product.id: product.name for product in products.all(conn, retired=True)},
        live=registry.live_all(conn),
        taught={one.product_id for one in teachings.all(conn) if one.unfinished},
        lapsed=set(lapses.all(conn, settings.certificate)),
        standing=alerts.standing(conn),
        waiting=station_work.waiting(conn, MOST),
        pictures=station_work.pictures(conn),
        silent_after_s=settings.alerts.silent_after_s,
    )
