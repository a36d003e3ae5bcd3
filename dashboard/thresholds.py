"""How severe a product's scores were, how that drifts, and what another threshold would have flagged."""

from __future__ import annotations

import streamlit as st

from agent.store import score_bins
from dashboard import charts
from dashboard.asking import Asked
from dashboard.findings import Findings

QUANTILES = (0.5, 0.9, 0.99)


def show(asked: Asked, found: Findings) -> None:
    """Draws both charts and the threshold to try, over whole days."""
    whole = score_bins.merged(found.days.values())
    st.subheader("Scores by severity")
    if not whole.n:
        st.info("No frame of these days was scored under a certificate.")
        return
    left, right = st.columns(2)
    left.altair_chart(charts.severities(whole))
    right.altair_chart(charts.quantiles(found.days, QUANTILES))
    threshold = st.number_input("Were the threshold at severity", value=0.0, step=0.1, key="threshold")
    least, most = whole.flagged_at(threshold)
    hours, (first, last) = found.hours, asked.days
    expected = f", {least / hours:.1f} to {most / hours:.1f} an hour of running" if hours else ""
    lots = " All lots are in it." if asked.scope.lot else ""
    st.caption(
        f"{least:,} to {most:,} of {whole.n:,} frames would have been flagged{expected}, {first} to {last}. "
        f"0 is the threshold that decided, 1 one interquartile range of the good parts above it.{lots}"
    )
