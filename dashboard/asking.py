"""What a trend page is asked for: a window, and what of. Every choice stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from agent.settings import utc_now
from agent.store import products, stations
from agent.store.buckets import Bucket, cutter, quarter
from agent.store.scopes import Scope
from dashboard import context
from dashboard.filters import choose, one_or_all, typed
from dashboard.trending import MEASURES
from dashboard.words import later, say

WINDOWS: dict[str, tuple[timedelta, Bucket]] = {
    later("1 hour"): (timedelta(hours=1), "minute"),
    later("8 hours"): (timedelta(hours=8), "quarter"),
    later("24 hours"): (timedelta(hours=24), "hour"),
    later("7 days"): (timedelta(days=7), "shift"),
    later("30 days"): (timedelta(days=30), "day"),
    later("90 days"): (timedelta(days=90), "day"),
    later("1 year"): (timedelta(days=365), "day"),
}
GROUPS = (later("station"), later("product"), later("lot"), later("shift"))


@dataclass(frozen=True, slots=True)
class Asked:
    """A window of the line's time, in buckets, and what of.

    Attributes:
        window: one of `WINDOWS`.
        since: the start of the first bucket.
        until: now.
        bucket: width of the buckets.
        scope: which product, station and lot.
        measure: one of `dashboard.trending.MEASURES`.
        by: what rates are told apart by; one of `GROUPS`.
        zone: the plant's timezone.
        shifts: when its shifts begin.
        products, stations: names by id.
    """

    window: str
    since: datetime
    until: datetime
    bucket: Bucket
    scope: Scope
    measure: str
    by: str
    zone: ZoneInfo
    shifts: tuple[time, ...]
    products: Mapping[int, str]
    stations: Mapping[int, str]

    @property
    def scored(self) -> int | None:
        """Whose severities are told: of the product asked for, or of the only one there is."""
        sole = next(iter(self.products)) if len(self.products) == 1 else None
        return self.scope.product_id or sole

    @property
    def days(self) -> tuple[date, date]:
        """The first and the last plant day of the window."""
        return self.since.astimezone(self.zone).date(), self.until.astimezone(self.zone).date()


def ask() -> Asked:
    """Draws the filters."""
    with context.reading() as conn:
        product_ids = {product.name: product.id for product in products.all(conn, retired=True)}
        station_ids = {station.name: station.id for station in stations.all(conn, retired=True)}
    columns = st.columns(6)
    window = choose(columns[0], "window", say("Window"), WINDOWS)
    product = one_or_all(columns[1], "product", say("Product"), product_ids)
    station = one_or_all(columns[2], "station", say("Station"), station_ids)
    lot = typed(columns[3], "lot", say("Lot"), say("all"))
    measure = choose(columns[4], "measure", say("Rate of"), MEASURES)
    by = choose(columns[5], "by", say("Rates by"), GROUPS)
    span, bucket = WINDOWS[window]
    if bucket == "minute" and measure != "flagged":
        bucket = "quarter"  # people's decisions are summed by quarters
    settings, now = context.settings(), utc_now()
    return Asked(
        window=window,
        since=cutter(bucket, settings.timezone, settings.plant.shifts)(quarter(now - span)),
        until=now,
        bucket=bucket,
        scope=Scope(product_ids.get(product or ""), station_ids.get(station or ""), lot or None),
        measure=measure,
        by=by,
        zone=settings.timezone,
        shifts=settings.plant.shifts,
        products={id_: name for name, id_ in product_ids.items()},
        stations={id_: name for name, id_ in station_ids.items()},
    )
