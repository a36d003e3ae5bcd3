"""The shift report: one printable page, and the same as CSV."""

from __future__ import annotations

from datetime import timedelta

import streamlit as st

from agent.settings import utc_now
from agent.store.buckets import cutter, nominal, quarter
from dashboard import context, shift_report
from dashboard.style import CSS
from dashboard.tables import table

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
            "Day",
            value=last.astimezone(zone).date(),
            max_value=now.astimezone(zone).date(),
            key="day",
            bind="query-params",
        )
        chosen = st.segmented_control(
            "Shift from", list(begins), default=running, required=True, key="shift", bind="query-params"
        )
        place = st.empty()
    start, end = shift_report.span(day, begins[chosen or running], shifts, zone)
    with context.reading() as conn:
        report = shift_report.make(conn, start, end, zone)
    place.download_button(
        "CSV", shift_report.to_csv(report), file_name=f"shift-{start:%Y-%m-%d-%H%M}.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    st.title(f"Shift {start:%Y-%m-%d %H:%M} to {end:%H:%M}")
    if now < end:
        left = timedelta(seconds=int((end - now).total_seconds()))
        st.info(f"It ends in {str(left)[:-3]} h: these are its numbers until now.")
    if not report.stations:
        st.info("No frame came in this shift. Choose another one; the page Line says which stations send frames.")
        return
    st.html(table(report.stations))
    st.subheader("Defects by reason")
    st.html(table(report.reasons)) if report.reasons else st.caption("None was judged a defect.")
    st.subheader("What happened")
    st.html(table(report.events)) if report.events else st.caption("No alert, no new model, no data gap.")
    st.caption(
        f"{report.waiting:,} parts wait for a review now. Judged are flagged parts; false calls are those of them that "
        f"were normal; defects may also be audited parts. Times in {zone.key}."
    )
