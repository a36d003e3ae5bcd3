"""How severe a product's scores were, how that drifts, and what another threshold would have flagged."""

from __future__ import annotations

from datetime import datetime, time

import streamlit as st

from agent.store import score_bins, trends
from agent.store.scopes import Scope
from dashboard import charts, context
from dashboard.asking import Asked

QUANTILES = (0.5, 0.9, 0.99)


def show(asked: Asked, product_id: int) -> None:
    """Draws both charts and the threshold to try, over whole days."""
    first, last = asked.since.astimezone(asked.zone).date(), asked.until.astimezone(asked.zone).date()
    station_id = asked.scope.station_id
    with context.reading() as conn:
        days = score_bins.daily(conn, product_id, first, last, station_id)
        midnight = datetime.combine(first, time(), asked.zone)
        hours = trends.hours_run(conn, midnight, asked.until, Scope(product_id, station_id))
    found = score_bins.merged(days.values())
    st.subheader("Scores by severity")
    if not found.n:
        st.info("No frame of these days was scored under a certificate.")
        return
    left, right = st.columns(2)
    left.altair_chart(charts.severities(found))
    right.altair_chart(charts.quantiles(days, QUANTILES))
    threshold = st.number_input("Were the threshold at severity", value=0.0, step=0.1, key="threshold")
    least, most = found.flagged_at(threshold)
    expected = f", {least / hours:.1f} to {most / hours:.1f} an hour of running" if hours else ""
    lots = " All lots are in it." if asked.scope.lot else ""
    st.caption(
        f"{least:,} to {most:,} of {found.n:,} frames would have been flagged{expected}, {first} to {last}. "
        f"0 is the threshold that decided, 1 one interquartile range of the good parts above it.{lots}"
    )
