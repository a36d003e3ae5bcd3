"""The shift report: one printable page, and the same as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import cast

import streamlit as st

from agent.settings import utc_now
from agent.store.buckets import cutter, nominal, quarter
from dashboard import busy, context, shift_report
from dashboard.codes import named, shown
from dashboard.style import CSS
from dashboard.tables import table
from dashboard.words import retold, say

PRINT = """
@media print {
  [data-testid=stSidebar], [data-testid=stHeader], .st-key-filters { display: none !important; }
  .stApp, [data-testid=stMain], [data-testid=stAppViewContainer] {
    position: static !important; overflow: visible !important;
  }
}
"""


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}{PRINT}</style>")
    settings, now = context.settings(), utc_now()
    zone, shifts = settings.timezone, settings.plant.shifts
    last = cutter("shift", zone, shifts)(quarter(now))
    running = f"{nominal(last, zone, shifts):%H:%M}"
    begins = {f"{one:%H:%M}": one for one in shifts}
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        day = st.date_input(
            say("Day"),
            value=last.astimezone(zone).date(),
            max_value=now.astimezone(zone).date(),
            key="day",
            bind="query-params",
        )
        chosen = st.segmented_control(
            say("Shift from"), list(begins), default=running, required=True, key="shift", bind="query-params"
        )
        place = st.empty()
    start, end = shift_report.span(day, begins[chosen or running], shifts, zone)
    with busy.at(say("Counting")), context.reading() as conn:
        report = shift_report.make(conn, start, end, zone)
    place.download_button(
        say("CSV"), shift_report.to_csv(report), file_name=f"shift-{start:%Y-%m-%d-%H%M}.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="csv",
    )  # fmt: skip
    st.title(say("Shift {start} to {end}", start=f"{start:%Y-%m-%d %H:%M}", end=f"{end:%H:%M}"))
    if now < end:
        left = timedelta(seconds=int((end - now).total_seconds()))
        st.info(say("It ends in {left} h: these are its numbers until now.", left=str(left)[:-3]))
    if not report.stations:
        st.info(say("No frame came in this shift. Choose another one; the page Line says which stations send frames."))
        return
    *rows, last_row = report.stations
    if rows:
        last_row = {**last_row, "Station": say(shift_report.ALL)}
    st.html(table([_told(one) for one in (*rows, last_row)]))
    st.subheader(say("Defects by reason"))
    reasons = [_told({**one, "Reason": named(str(one["Reason"]))}) for one in report.reasons]
    st.html(table(reasons)) if reasons else st.caption(say("None was judged a defect."))
    st.subheader(say("What happened"))
    events = [{**one, "Kind": shown(str(one["Kind"])), "What": retold(cast(str, one["What"]))} for one in report.events]
    st.html(table(events)) if events else st.caption(say("No alert, no new model, no data gap."))
    st.caption(
        say(
            "{n:,} parts wait for a review now. Judged are flagged parts; false calls are those of them that "
            "were normal; defects may also be audited parts. Times in {zone}.",
            n=report.waiting,
            zone=zone.key,
        )
    )


def _told(row: Mapping[str, object]) -> dict[str, object]:
    return {name: f"{value:,}" if isinstance(value, int) else value for name, value in row.items()}
