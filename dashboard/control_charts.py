"""A control chart on the page: its choices, what broke a rule, what happened meanwhile, and the parts of a point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from agent.store.marks import Mark
from dashboard import charts, clocks, gallery, tables, trending
from dashboard.asking import Asked
from dashboard.filters import choose, some
from dashboard.spc import RULES
from dashboard.trending import MEASURES, share
from dashboard.words import opening, say

SIGNALS = 10  # shown at most
OPENED = "opened"  # whose parts show, by name


def show(asked: Asked, series: trending.Series, marks: Sequence[Mark]) -> None:
    """Draws it, and below it the parts of the point that was clicked or chosen."""
    measure = MEASURES[asked.measure]
    st.subheader(say(measure.title))
    left, middle, right = st.columns((1, 1, 3))
    averaged = (
        left.segmented_control(say("Chart"), ["p'", "EWMA"], default="p'", key="chart", bind="query-params") == "EWMA"
    )
    base = choose(middle, "base", say("Limits from"), trending.BASES)
    rules = some(
        right, "rules", say("Run rules"), RULES, (1, 2), lambda one: f"{one}: {say(RULES[one].words)}",
        disabled=averaged,
    )  # fmt: skip
    starts, counts, chart = trending.charted(series, measure, rules, zone=asked.zone, averaged=averaged, base=base)
    if chart is None:
        words, window = say(measure.words), say(asked.window)
        st.info(say("Nothing to draw: no {words} in the last {window}.", words=words, window=window))
        return
    drawn = charts.control(starts, counts, chart, marks, asked.bucket, say(measure.axis))
    event = st.altair_chart(drawn, on_select=_clicked, selection_mode=charts.PICKED, key="control")
    st.caption(
        say(
            "{counted}, n = {n:,} in {buckets} buckets. Centre {centre}; limits at three standard deviations, "
            "{sigma_z:.2f} times the binomial ones. A click on a point, or its choice below, shows its parts.",
            counted=opening(say(measure.words)),
            n=sum(point.n for point in chart.points),
            buckets=len(starts),
            centre=share(chart.centre),
            sigma_z=chart.sigma_z,
        )
    )
    _signals(trending.signals(starts, counts, chart, asked.bucket))
    _meanwhile(asked, marks)
    picked = event["selection"].get(charts.PICKED) if event else None
    start = _chosen(trending.openable(starts, asked.bucket)) or (
        picked and datetime.fromtimestamp(picked[0]["at"], UTC)
    )
    if start:
        gallery.show(asked, start)


def _clicked() -> None:
    """The newer of a click and a choice counts."""
    st.session_state[OPENED] = None


def _chosen(found: trending.Named) -> datetime | None:
    """What a click on a point asks for, by keys."""
    if st.session_state.get(OPENED) not in found:
        st.session_state[OPENED] = None
    with st.expander(say("Parts of a point")):
        name = st.selectbox(
            say("Point, the newest first"), list(found), index=None, placeholder=say("none"), key=OPENED
        )
    return found[name].astimezone(UTC) if name else None


def _signals(told: Sequence[str]) -> None:
    if told:
        more = "\n\n" + say("and {n} earlier", n=len(told) - SIGNALS) if len(told) > SIGNALS else ""
        st.warning("\n".join(f"- {line}" for line in told[:SIGNALS]) + more)


def _meanwhile(asked: Asked, marks: Sequence[Mark]) -> None:
    if not marks:
        return
    with st.expander(say("What happened meanwhile ({n})", n=len(marks))):
        own = clocks.zone()
        elsewhere = own.key != asked.zone.key
        st.html(tables.table(trending.meanwhile(marks, own if elsewhere else None)))
        if elsewhere:
            st.caption(say("Your time is that of {zone}.", zone=own.key))
