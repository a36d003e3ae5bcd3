"""Whether every frame has its one outcome, what could not be inspected and why, and what was wrong lately."""

from __future__ import annotations

from typing import cast, get_args

import streamlit as st

from agent.alerts.base import KINDS
from agent.settings import utc_now
from agent.store import alerts, gaps, offsets, storage, users
from agent.store import speed as stored_speed
from agent.store.alerts import State
from dashboard import accounts, clocks, context, dead_letters, rooms, speed
from dashboard.codes import shown
from dashboard.filters import pick_code, typed
from dashboard.fragments import fragment
from dashboard.style import CSS
from dashboard.tables import table
from dashboard.words import say

LIMIT = 25


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title(say("Health"))
    clocks.tell()
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
    st.subheader(say("Every frame has one outcome"))
    words = accounts.sentence(total)
    st.success(words, icon=":material/check_circle:") if total.balanced else st.error(words, icon=":material/error:")
    if states:
        st.html(table(accounts.partitions(states)))
        st.html(table(accounts.positions(states, lags, utc_now())))
    else:
        st.caption(say("No partition has been read yet. Start an agent: `goodpart agent`"))
    if missing:
        st.warning(say("The log did not go on where it had been read to. The newest gaps:"))
        st.html(table(accounts.gaps(missing, clocks.zone())))


@fragment(run_every="10s")
def _stages() -> None:
    st.subheader(say("How long frames take"))
    with context.reading() as conn:
        found = stored_speed.latencies(conn, utc_now() - speed.HOUR)
    if not found:
        st.caption(say("No frame was read in the last hour."))
        return
    st.html(table(speed.stages(found)))
    st.caption(say("Each stage with the time that frames wait for it, over the last hour, all agents together."))


def _stored() -> None:
    st.subheader(say("Room"))
    with context.reading() as conn:
        found = storage.measured(conn, utc_now())
    if found:
        st.html(table(rooms.rows(found)))
    else:
        st.caption(say("Nobody measured it in the last two hours: no agent runs."))


def _past() -> None:
    st.subheader(say("Alerts, the newest first"))
    state_at, kind_at, text_at = st.columns((1, 1, 2))
    state = cast(State | None, pick_code(state_at, "alerts", say("Alerts"), get_args(State)))
    kind = pick_code(kind_at, "kind", say("Kind"), sorted(KINDS), shown)
    text = typed(text_at, "words", say("With the words"), say("any"))
    many = int(st.session_state.get("alerts-shown", LIMIT))
    with context.reading() as conn:
        found = alerts.recent(conn, many + 1, state=state, kind=kind, text=text)
        names = {one.id: one.name for one in users.all(conn, disabled=True)}
    if not found:
        st.caption(say("There was none like that.") if state or kind or text else say("There was none."))
        return
    st.html(table(accounts.alerts(found[:many], names, clocks.zone())))
    if len(found) > many and st.button(say("Show earlier ones"), key="earlier-alerts"):
        st.session_state["alerts-shown"] = many + LIMIT
        st.rerun()
