"""Whether every frame has its one outcome, what could not be inspected and why, and what was wrong lately."""

from __future__ import annotations

import streamlit as st

from agent.settings import utc_now
from agent.store import alerts, dead_letters, gaps, offsets
from agent.store.errors import StoreError
from dashboard import accounts, context
from dashboard.style import CSS
from dashboard.tables import table

LIMIT = 25


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Health")
    _frames()
    _letters()
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
        st.caption("No partition has been read yet. Start an agent: `goodpart agent`")
    if missing:
        st.warning("The log did not go on where it had been read to. The newest gaps:")
        st.html(table(accounts.gaps(missing, context.settings().timezone)))


def _letters() -> None:
    st.subheader("Dead letters")
    with context.reading() as conn:
        counted = dead_letters.by_reason(conn)
    if not counted:
        st.caption("None: every frame could be decoded and named its station and product.")
        return
    st.text(", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in counted.items()))
    reason = st.segmented_control("Reason", list(counted), key="reason", bind="query-params")
    with context.reading() as conn:
        found, replayed = dead_letters.recent(conn, LIMIT, reason=reason), dead_letters.replays(conn)
    st.html(table(accounts.letters(found, replayed, context.settings().timezone)))
    shown = f"The newest {len(found)} of {counted[reason] if reason else sum(counted.values()):,}. "
    st.caption(
        f"{shown}Publish one again: `goodpart dead-letters replay NO.`; in other words: `--station`, `--product`."
    )


def _past() -> None:
    st.subheader("Alerts, the newest first")
    with context.reading() as conn:
        found = alerts.recent(conn, LIMIT)
    if found:
        st.html(table(accounts.alerts(found, context.settings().timezone)))
    else:
        st.caption("There was none.")
