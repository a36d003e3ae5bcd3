"""How severe a product's scores were, how that drifts, and what another threshold would have flagged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import streamlit as st

from agent.store import score_bins
from agent.store.score_bins import Decided, Histogram
from dashboard import charts
from dashboard.asking import Asked
from dashboard.findings import Findings
from dashboard.words import later, say

QUANTILES = (0.5, 0.9, 0.99)
CHOOSE = later(
    "Choose a product above: how severe its scores are, how they drift from day to day, and how many frames another "
    "threshold would have flagged."
)


def show(asked: Asked, found: Findings) -> None:
    """Draws both charts and the threshold to try, over whole days; says so where a product has to be chosen first."""
    whole = score_bins.merged(found.days.values())
    st.subheader(say("Scores by severity"))
    if asked.scored is None:
        st.info(say(CHOOSE))
        return
    if not whole.n:
        st.info(say("No frame of these days was scored under a certificate."))
        return
    left, right = st.columns(2)
    left.altair_chart(charts.severities(whole, _between(map(str, asked.days))))
    right.altair_chart(charts.quantiles(found.days, QUANTILES, found.marks))
    right.caption(_counted(found.days))
    threshold = st.number_input(
        say("Were the threshold at severity"), value=0.0, step=0.1, key="threshold", bind="query-params"
    )
    hours, frames = found.hours, whole.flagged_at(threshold)
    counted = {
        "flagged": _between([f"{one:,}" for one in frames]),
        "n": whole.n,
        "days": _between(map(str, asked.days)),
    }
    if hours:
        text = say(
            "{flagged} of {n:,} frames would have been flagged, {hourly} an hour of running, {days}.",
            hourly=_between([f"{one / hours:.1f}" for one in frames]), **counted,
        )  # fmt: skip
    else:
        text = say("{flagged} of {n:,} frames would have been flagged, {days}.", **counted)
    text += " " + say("0 is the threshold that decided, 1 one interquartile range of the good parts above it.")
    st.caption(text + (" " + say("All lots are in it.") if asked.scope.lot else ""))


def _counted(days: Mapping[Decided, Histogram]) -> str:
    ns = [one.n for one in days.values()]
    return say(
        "n = {n:,} frames, {some} a point. A line ends where another model or certificate decides: from "
        "there on severities are of another unit.",
        n=sum(ns), some=_between([f"{min(ns):,}", f"{max(ns):,}"]),
    )  # fmt: skip


def _between(ends: Iterable[str]) -> str:
    """Both ends of a range, or the one that they are."""
    least, most = ends
    return least if least == most else say("{least} to {most}", least=least, most=most)
