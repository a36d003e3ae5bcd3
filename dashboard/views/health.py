"""Whether every frame has its one outcome, what could not be inspected and why, and what was wrong lately."""

from __future__ import annotations

import streamlit as st

from agent.settings import utc_now
from agent.store import alerts, gaps, offsets
from agent.store.errors import StoreError
from dashboard import accounts, context, dead_letters
from dashboard.style import CSS
from dashboard.tables import table

LIMIT = 25


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Health")
    _frames()
    dead_letters.show()
    _past()


@st.fragment(run_every="5s")
def _frames() -> None:
    try:
        with context.reading() as conn:
            total, states = offsets.totals(conn), offsets.partitions(conn)
            missing = gaps.recent(conn, LIMIT)
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        return
    st.subheader("Every frame has one outcome")
    words = accounts.sentence(total)
    st.success(words, icon=":material/check_circle:") if total.balanced else st.error(words, icon=":material/error:")
    if states:
        st.html(table(accounts.partitions(states, utc_now())))
    else:
        st.caption("No partition has been read yet.")
    if missing:
        st.warning("The log did not go on where it had been read to. The newest gaps:")
        st.html(table(accounts.gaps(missing, context.settings().timezone)))


def _past() -> None:
    st.subheader("Alerts, the newest first")
    with context.reading() as conn:
        found = alerts.recent(conn, LIMIT)
    if found:
        st.html(table(accounts.alerts(found, context.settings().timezone)))
    else:
        st.caption("There was none.")
