"""Taking out what measures models, by two people: one asks, an engineer who is somebody else decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import streamlit as st

from agent.service import withdrawals as service
from agent.store import commands
from agent.store.withdrawals import Withdrawal
from dashboard import context
from dashboard.barred import barred
from dashboard.codes import named
from dashboard.tables import plain
from dashboard.words import retold, say


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
            reasons = [*context.settings().review.reasons, service.UNREADABLE]
            reason = st.selectbox(say("It is a"), reasons, key=f"withdraw-reason-{sample_id}", format_func=_kind)
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
    unreadable = role != "defect" and asked.reason == service.UNREADABLE
    if unreadable and _looked_at(asked.id):
        return
    with st.container(horizontal=True):
        if st.button(say("Take out"), key=f"confirm-{asked.id}"):
            if unreadable:
                _do(partial(service.ask_confirm, engine, user, asked.id), say("an agent looks at its image first"))
            else:
                take = partial(service.confirm, engine, user, asked.id, readable=lambda _: True)
                _do(take, say("taken out") if role == "defect" else say("taken out; certify the version anew"))
        if st.button(say("Leave in"), key=f"refuse-{asked.id}"):
            _do(partial(service.refuse, engine, user, asked.id), say("it stays"))


def _looked_at(withdrawal_id: int) -> bool:
    """Says how an agent's look at the image stands; whether it is under way."""
    with context.reading() as conn:
        last = service.last_look(conn, withdrawal_id)
    if last is not None and last.state in commands.PENDING:
        st.caption(say("An agent was asked to look at its image. Without one it goes on waiting: `goodpart agent`"))
        return True
    if last is not None and last.state == "failed":
        st.error(say("It was not taken out: {problem}", problem=plain(retold(last.problem or ""))))
    return False


def _kind(reason: str) -> str:
    return say("part whose image cannot be read") if reason == service.UNREADABLE else named(reason)


def _do(work: Callable[..., object], done: str) -> None:
    if context.act(work, done):
        st.rerun()
