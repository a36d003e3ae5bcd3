"""Whether every frame has its one outcome, what could not be inspected and why, and what was wrong lately."""

from __future__ import annotations

import streamlit as st

from agent.alerts.base import KINDS
from agent.settings import utc_now
from agent.store import alerts, gaps, offsets, storage, users
from agent.store import speed as stored_speed
from agent.store.alerts import State
from dashboard import accounts, context, dead_letters, rooms, speed
from dashboard.fragments import fragment
from dashboard.style import CSS
from dashboard.tables import table

LIMIT = 25


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title("Health")
    _frames()
    _stages()
    dead_letters.show()
    _stored()
    _past()


@fragment(run_every="5s")
def _frames() -> None:
    with context.reading() as conn:
        total, states = offsets.totals(conn), offsets.partitions(conn)
        missing = gaps.recent(conn, LIMIT)
        lags = stored_speed.lags(conn, utc_now() - speed.HOUR)
    st.subheader("Every frame has one outcome")
    words = accounts.sentence(total)
    st.success(words, icon=":material/check_circle:") if total.balanced else st.error(words, icon=":material/error:")
    if states:
        st.html(table(accounts.partitions(states)))
        st.html(table(accounts.positions(states, lags, utc_now())))
    else:
        st.caption("No partition has been read yet. Start an agent: `goodpart agent`")
    if missing:
        st.warning("The log did not go on where it had been read to. The newest gaps:")
        st.html(table(accounts.gaps(missing, context.settings().timezone)))


@fragment(run_every="10s")
def _stages() -> None:
    st.subheader("How long frames take")
    with context.reading() as conn:
        found = stored_speed.latencies(conn, utc_now() - speed.HOUR)
    if not found:
        st.caption("No frame was read in the last hour.")
        return
    st.html(table(speed.stages(found)))
    st.caption("Each stage with the time that frames wait for it, over the last hour, all agents together.")


def _stored() -> None:
    st.subheader("Room")
    with context.reading() as conn:
        found = storage.measured(conn, utc_now())
    if found:
        st.html(table(rooms.rows(found)))
    else:
        st.caption("Nobody measured it in the last two hours: no agent runs.")


def _past() -> None:
    st.subheader("Alerts, the newest first")
    state_at, kind_at, text_at = st.columns((1, 1, 2))
    states: tuple[State, ...] = ("open", "acknowledged", "ended")
    state = state_at.selectbox("Alerts", states, index=None, placeholder="all", key="alerts", bind="query-params")
    kind = kind_at.selectbox(
        "Kind", sorted(KINDS), index=None, placeholder="all", key="kind", bind="query-params",
        format_func=lambda one: one.replace("_", " "),
    )  # fmt: skip
    text = text_at.text_input("With the words", placeholder="any", key="words", bind="query-params").strip()
    shown = int(st.session_state.get("alerts-shown", LIMIT))
    with context.reading() as conn:
        found = alerts.recent(conn, shown + 1, state=state, kind=kind, text=text)
        names = {one.id: one.name for one in users.all(conn, disabled=True)}
    if not found:
        st.caption("There was none like that." if state or kind or text else "There was none.")
        return
    st.html(table(accounts.alerts(found[:shown], names, context.settings().timezone)))
    if len(found) > shown and st.button("Show earlier ones", key="earlier-alerts"):
        st.session_state["alerts-shown"] = shown + LIMIT
        st.rerun()
