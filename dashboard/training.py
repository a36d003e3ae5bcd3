"""Training runs: how far one is, its loss, what came of the others and what the gate said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

import streamlit as st

from agent.service import retrain
from agent.settings import utc_now
from agent.store.runs import UNFINISHED, GateReport, TrainingRun
from agent.store.users import User
from dashboard import charts, clocks, context, gates
from dashboard.alerts import ago
from dashboard.codes import named
from dashboard.tables import table
from dashboard.words import later, retold, say

QUIET_S = 120.0  # without a sign of life before the page says so


def show(recent: Sequence[TrainingRun], reports: Mapping[int, GateReport]) -> None:
    """Draws the newest runs, newest first; `reports` by run."""
    if not recent:
        st.caption(say("none yet"))
        return
    for run in recent:
        if run.state in UNFINISHED:
            _running(run)
    zone = clocks.zone()
    rows = [
        {
            later("run"): run.id,
            later("trigger"): say(run.trigger),
            later("state"): named(run.state),
            later("started"): run.started_at.astimezone(zone).strftime("%m-%d %H:%M:%S") if run.started_at else "",
            later("why"): why(run, reports.get(run.id)),
        }
        for run in recent
    ]
    st.html(table(rows, low=True))
    _one({run.id: run for run in recent if run.id in reports or run.losses}, reports)


def _running(run: TrainingRun) -> None:
    share = run.step / run.steps if run.steps else 0.0
    bar, cancel = st.columns((4, 1), vertical_alignment="center")
    bar.progress(min(share, 1.0), words(run, utc_now()))
    user = context.actor()
    if user and context.may("engineer"):
        with cancel.popover(say("Cancel")):
            _cancel(run, user)
    if run.losses:
        st.altair_chart(charts.losses(run.losses), key=f"loss-{run.id}")


def words(run: TrainingRun, now: datetime) -> str:
    """How far a run is that has not ended, in one line."""
    name = say("run {id}", id=run.id)
    if run.attempts > 1:
        name = say("run {id}, attempt {attempts}", id=run.id, attempts=run.attempts)
    said = [f"{name}: {named(run.phase or run.state)} {run.step:,}/{run.steps:,}"]
    said += [] if run.loss is None else [say("loss {loss:.4f}", loss=run.loss)]
    said += [] if run.eta_s is None else [say("{time} of this phase left", time=left(run.eta_s))]
    if run.heartbeat_at and (now - run.heartbeat_at).total_seconds() > QUIET_S:
        said.append(say("no sign of life for {age}", age=ago(run.heartbeat_at, now)))
    return " · ".join(said)


def why(run: TrainingRun, report: GateReport | None) -> str:
    """What came of a run: what the gate found, or why it ended, what it held back, and how its processes left it."""
    ended = gates.words(report) if report else retold(run.told or "")
    unsaid = "; ".join(retold(one) for one in run.ends if one not in (run.reason or ""))  # else its reason says so
    left = unsaid and say("Left before its end: {ends}.", ends=unsaid)
    return " ".join(filter(None, (ended, retold(run.held_back or ""), left)))


def left(seconds: float) -> str:
    """A time that is left, in words: `about 12 min`."""
    if seconds < 90:
        return say("{n} s", n=f"{seconds:.0f}")
    minutes = round(seconds / 60)
    if minutes < 90:
        return say("about {n} min", n=minutes)
    return say("about {n:.1f} h", n=minutes / 60)


def _cancel(run: TrainingRun, user: User) -> None:
    why = st.text_input(say("Why"), key=f"cancel-why-{run.id}")
    if st.button(say("Cancel the run"), key=f"cancel-{run.id}", disabled=not why.strip()):
        end = partial(retrain.cancel, context.engine(), user, run.id, reason=why)
        context.act(end, say("run {id} is cancelled; its process ends at its next step", id=run.id))


def _one(found: Mapping[int, TrainingRun], reports: Mapping[int, GateReport]) -> None:
    """What the gate said of a run, and its loss."""
    ended = [run_id for run_id, run in found.items() if run.state not in UNFINISHED]
    if not ended:
        return
    with st.expander(say("What the gate said, and the loss")):
        run = found[st.selectbox(say("Run"), ended, key="looked-into", format_func=lambda one: say("run {id}", id=one))]
        if report := reports.get(run.id):
            st.markdown(f"**{say(gates.VERDICTS[report.verdict])}**")
            st.html(table(gates.rows(report)))
        else:
            st.caption(say("It was not compared with a champion."))
        if run.losses:
            st.altair_chart(charts.losses(run.losses), key=f"loss-{run.id}")
