"""The script that Streamlit runs for each page: who acts, which page, and one clear line where the store fails."""

from __future__ import annotations

import streamlit as st

from agent.store.errors import StoreError
from dashboard import context
from dashboard.views import audit, health, line, models, part, review, shift, teach, trends, triage


def main() -> None:
    """Draws the page asked for."""
    st.set_page_config(page_title="goodpart", page_icon="🔩", layout="wide", initial_sidebar_state=220)
    pages = [
        st.Page(line.show, title="Line", icon=":material/factory:", default=True),
        st.Page(review.show, title="Review", icon=":material/rate_review:", url_path="review"),
        st.Page(triage.show, title="Triage", icon=":material/grid_view:", url_path="triage"),
        st.Page(part.show, title="Part", icon=":material/search:", url_path="part"),
        st.Page(trends.show, title="Trends", icon=":material/monitoring:", url_path="trends"),
        st.Page(shift.show, title="Shift", icon=":material/assignment:", url_path="shift"),
        st.Page(teach.show, title="Teach", icon=":material/school:", url_path="teach"),
        st.Page(models.show, title="Models", icon=":material/model_training:", url_path="models"),
        st.Page(health.show, title="Health", icon=":material/monitor_heart:", url_path="health"),
        st.Page(audit.show, title="Audit", icon=":material/history:", url_path="audit"),
    ]
    page = st.navigation(pages)
    try:
        context.pick_actor()
        page.run()
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        st.caption("The agent keeps what is in flight and goes on by itself. This page comes back with a reload.")


main()
