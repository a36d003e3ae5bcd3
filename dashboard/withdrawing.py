"""Taking out what measures models, by two people: one asks, an engineer who is somebody else decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from agent.service import withdrawals as service
from agent.store.withdrawals import Withdrawal
from dashboard import context
from dashboard.barred import barred
from dashboard.tables import plain


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
    with st.popover("No defect" if role == "defect" else "No good part"):
        if role == "defect":
            reason = st.text_input("Why is it none?", key=f"withdraw-reason-{sample_id}", placeholder="a reflection")
        else:
            reason = st.selectbox("It is a", context.settings().review.reasons, key=f"withdraw-reason-{sample_id}")
        if st.button("Ask for it to be taken out", key=f"withdraw-{sample_id}", disabled=not (reason or "").strip()):
            _do(partial(service.ask, context.engine(), user, sample_id, reason), "a second person is asked")


def _decide(asked: Withdrawal, role: str, names: Mapping[int, str]) -> None:
    user, engine = context.actor(), context.engine()
    st.caption(f"{plain(names.get(asked.asked_by, 'somebody'))} asks to take it out: {plain(asked.reason)}.")
    if user is None or barred("engineer"):
        return
    if asked.asked_by == user.id:
        st.caption("A second person decides it.")
        return
    if asked.reason == service.UNREADABLE:
        st.caption(f"Its image is looked at first: `goodpart bank confirm {asked.id}`")
        return
    with st.container(horizontal=True):
        if st.button("Take out", key=f"confirm-{asked.id}"):
            take = partial(service.confirm, engine, user, asked.id, readable=lambda _: True)
            _do(take, "taken out" + ("" if role == "defect" else "; certify the version anew"))
        if st.button("Leave in", key=f"refuse-{asked.id}"):
            _do(partial(service.refuse, engine, user, asked.id), "it stays")


def _do(work: Callable[..., object], done: str) -> None:
    if context.act(work, done):
        st.rerun()
