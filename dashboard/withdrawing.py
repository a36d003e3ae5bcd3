"""Taking out what measures models, by two people: one asks, an engineer who is somebody else decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from agent.service import withdrawals as service
from agent.store.withdrawals import Withdrawal
from dashboard import context
from dashboard.barred import barred
from dashboard.codes import named
from dashboard.tables import plain
from dashboard.words import say


def controls(sample_id: int, role: str, asked: Withdrawal | None, names: Mapping[int, str]) -> None:
    """Draws what the acting user may do with a usable sample.

    Args:
        sample_id: of it.
        role: calibration, holdout or defect.
        asked: its open withdrawal; None: nobody has asked.
        names: of users by id.
    """
    if asked is not None:
        _decide(asked, role, names)
    elif barred("operator") is None:
        _ask(sample_id, role)


def _ask(sample_id: int, role: str) -> None:
    user = context.actor()
    assert user is not None
    with st.popover(say("No defect") if role == "defect" else say("No good part")):
        if role == "defect":
            reason = st.text_input(
                say("Why is it none?"), key=f"withdraw-reason-{sample_id}", placeholder=say("a reflection")
            )
        else:
            reasons = context.settings().review.reasons
            reason = st.selectbox(say("It is a"), reasons, key=f"withdraw-reason-{sample_id}", format_func=named)
        if st.button(
            say("Ask for it to be taken out"), key=f"withdraw-{sample_id}", disabled=not (reason or "").strip()
        ):
            _do(partial(service.ask, context.engine(), user, sample_id, reason), say("a second person is asked"))


def _decide(asked: Withdrawal, role: str, names: Mapping[int, str]) -> None:
    user, engine = context.actor(), context.engine()
    st.caption(
        say(
            "{name} asks to take it out: {reason}.",
            name=plain(names.get(asked.asked_by, say("somebody"))),
            reason=plain(named(asked.reason)),
        )
    )
    if user is None or barred("engineer"):
        return
    if asked.asked_by == user.id:
        st.caption(say("A second person decides it."))
        return
    if asked.reason == service.UNREADABLE:
        st.caption(say("Its image is looked at first: `goodpart bank confirm {id}`", id=asked.id))
        return
    with st.container(horizontal=True):
        if st.button(say("Take out"), key=f"confirm-{asked.id}"):
            take = partial(service.confirm, engine, user, asked.id, readable=lambda _: True)
            _do(take, say("taken out") if role == "defect" else say("taken out; certify the version anew"))
        if st.button(say("Leave in"), key=f"refuse-{asked.id}"):
            _do(partial(service.refuse, engine, user, asked.id), say("it stays"))


def _do(work: Callable[..., object], done: str) -> None:
    if context.act(work, done):
        st.rerun()
