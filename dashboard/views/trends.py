"""Trends for the quality manager: flag rate, verdicts and defect reasons over time, from rollups only."""

from __future__ import annotations

from datetime import datetime, timedelta

import streamlit as st

from agent.settings import utc_now
from agent.store import products, score_bins, stations, trends
from agent.store.trends import Bucket
from dashboard import charts, context

WINDOWS: dict[str, tuple[timedelta, Bucket]] = {
    "15 minutes": (timedelta(minutes=15), "minute"),
    "1 hour": (timedelta(hours=1), "minute"),
    "8 hours": (timedelta(hours=8), "quarter"),
    "24 hours": (timedelta(hours=24), "quarter"),
    "7 days": (timedelta(days=7), "hour"),
    "30 days": (timedelta(days=30), "day"),
    "1 year": (timedelta(days=365), "day"),
}


def show() -> None:
    """Draws the page."""
    st.title("Trends")
    with context.reading() as conn:
        product_ids = {product.name: product.id for product in products.all(conn)}
        station_ids = {station.name: station.id for station in stations.all(conn, retired=True)}
    first, second, third = st.columns(3)
    window = first.selectbox("Window", list(WINDOWS), index=1, key="window", bind="query-params")
    product = second.selectbox("Product", ["all", *product_ids], key="product", bind="query-params")
    station = third.selectbox("Station", ["all", *station_ids], key="station", bind="query-params")
    span, bucket = WINDOWS[window]
    now, zone = utc_now(), context.settings().timezone
    since = now - span
    chosen = {station: station_ids[station]} if station in station_ids else station_ids
    with context.reading() as conn:
        asked = (since, now, bucket, product_ids.get(product))
        series = {name: trends.flag_series(conn, *asked, one, timezone=zone) for name, one in chosen.items()}
        whole = trends.flag_series(conn, *asked, station_ids.get(station), timezone=zone)
        reasons = trends.reason_series(conn, *asked, station_ids.get(station), timezone=zone)
    if not whole:
        st.info(f"No frame in the last {window}.")
        return
    inspected, flagged = sum(point.inspected for point in whole), sum(point.flagged for point in whole)
    defects = sum(point.n for point in reasons if point.decision == "defect")
    normals = sum(point.n for point in reasons if point.decision == "normal")
    shown = (
        ("Inspected", f"{inspected:,}"),
        ("Flagged", f"{flagged:,}"),
        ("Flag rate", f"{flagged / inspected:.2%}" if inspected else "—"),
        ("Judged defect", f"{defects:,}"),
        ("Judged normal", f"{normals:,}"),
    )
    for column, (name, value) in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(name, value, border=True)
    st.subheader("Flag rate by station")
    st.altair_chart(charts.flag_rates(series, bucket))
    left, right = st.columns(2)
    left.subheader("Frames by verdict")
    left.altair_chart(charts.verdicts(whole, bucket))
    right.subheader("Defects by reason")
    if defects:
        right.altair_chart(charts.reasons(reasons, bucket))
    else:
        right.info("No part of this window has been judged a defect yet.")
    if product in product_ids:
        _severities(product_ids[product], station_ids.get(station), since.astimezone(zone), now.astimezone(zone))
    st.caption(f"Times in {zone.key}. Defects stand at the time of the part, not of its review.")


def _severities(product_id: int, station_id: int | None, since: datetime, until: datetime) -> None:
    """How severe the product's scores were, over whole days, and what another threshold would have flagged."""
    with context.reading() as conn:
        found = score_bins.histogram(conn, product_id, since.date(), until.date(), station_id)
    st.subheader("Scores by severity")
    if not found.n:
        st.info("No frame of these days was scored under a certificate.")
        return
    st.altair_chart(charts.severities(found))
    threshold = st.number_input("Were the threshold at severity", value=0.0, step=0.1, key="threshold")
    least, most = found.flagged_at(threshold)
    st.caption(
        f"{least:,} to {most:,} of {found.n:,} frames would have been flagged, {since.date()} to {until.date()}. "
        "0 is the threshold that decided, 1 one interquartile range of the good parts above it."
    )
