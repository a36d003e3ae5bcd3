"""The calibration parts that a version scored highest, each with its heatmap: a defect among them would be the
threshold. Two people take one out: one asks, another one confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape

import streamlit as st

from agent.service import withdrawals as service
from agent.store import lesson, registry, users, withdrawals
from agent.store.calibration import Calibrator
from agent.store.withdrawals import Withdrawal
from dashboard import context
from dashboard.parts import picture

ROW = 4
HELP = (
    "One defect among them would be the threshold. A part leaves only as a defect, by two people: one asks, an "
    "engineer confirms; then the version is certified anew."
)


def show(product_id: int, version_id: int) -> None:
    """Draws them; operators may ask, engineers decide."""
    with context.reading() as conn:
        top = lesson.top_calibration(conn, version_id)
        issued = registry.certificates(conn, version_id)
        asked = {one.sample_id: one for one in withdrawals.all(conn, product_id)}
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
    if not top:
        st.caption("No calibration scores are on record: this version was made before they were kept.")
        return
    threshold = issued[0].record["review_threshold"] if issued else None
    st.caption(HELP)
    for start in range(0, len(top), ROW):
        for column, one in zip(st.columns(ROW), top[start : start + ROW], strict=False):
            with column:
                st.html(card(one, threshold))
                _acts(one, asked.get(one.sample_id), names)


def card(one: Calibrator, threshold: float | None) -> str:
    """A part's image and the same with its heatmap, and what there is to say of it; every text is escaped."""
    name = one.serial or f"sample {one.sample_id}"
    shown = [sha256 for sha256 in (one.preview_sha256, one.overlay_sha256) if sha256] or [one.blob_sha256]
    pictures = "".join(picture(sha256, name, f"width:{100 // len(shown)}%;vertical-align:top") for sha256 in shown)
    said = escape(words(one, threshold))
    return f"{pictures}<div><b>{escape(name)}</b><br><span class='faint small'>{said}</span></div>"


def words(one: Calibrator, threshold: float | None) -> str:
    """Its sample, where that is not its name, its score and its place among the others."""
    said = [f"sample {one.sample_id}"] if one.serial else []
    said.append(f"score {one.score:.3f}")
    if threshold is not None and one.score >= threshold:
        said.append("above the threshold" if one.score > threshold else "the threshold")
    if one.station:
        said.append(one.station)
    if one.frames > 1:
        said.append(f"the highest of {one.frames} images")
    if not one.usable:
        said.append("taken out")
    return " · ".join(said)


def _acts(one: Calibrator, asked: Withdrawal | None, names: Mapping[int, str]) -> None:
    user, engine = context.actor(), context.engine()
    if user is None or not one.usable or not context.may("operator"):
        return
    if asked is None:
        with st.popover("No good part"):
            reason = st.selectbox("It is a", context.settings().review.reasons, key=f"withdraw-reason-{one.sample_id}")
            if st.button("Ask for it to be taken out", key=f"withdraw-{one.sample_id}"):
                _do(partial(service.ask, engine, user, one.sample_id, reason), "a second person is asked")
        return
    st.caption(f"{names.get(asked.asked_by, 'somebody')} asks to take it out: {asked.reason}.")
    if asked.asked_by == user.id or not context.may("engineer"):
        return
    if asked.reason == service.UNREADABLE:
        st.caption(f"Its image is looked at first: `goodpart bank confirm {asked.id}`")
        return
    with st.container(horizontal=True):
        if st.button("Take out", key=f"confirm-{asked.id}"):
            take = partial(service.confirm, engine, user, asked.id, readable=lambda _: True)
            _do(take, "taken out; certify the version anew")
        if st.button("Leave in", key=f"refuse-{asked.id}"):
            _do(partial(service.refuse, engine, user, asked.id), "it stays")


def _do(work: Callable[..., object], done: str) -> None:
    if context.act(work, done):
        st.rerun()
