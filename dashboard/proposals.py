"""Proposals that wait for a second person, each beside the defects that it resembles."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import streamlit as st

from agent.service import samples as service
from agent.store import proposals, samples, users
from agent.store.samples import Sample
from dashboard import context

SHOWN = 5  # at once


def show(product_id: int) -> None:
    """Draws the section; nothing where nothing waits."""
    with context.reading() as conn:
        counted, missing = proposals.counts(conn, product_id), proposals.missing(conn, product_id)
        held = sorted(samples.all(conn, product_id, "train", state="quarantined"), key=lambda one: one.id)[:SHOWN]
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        wanted = {one for sample in held for one in (sample.quarantine or {}).get("nearest", ())}
        near = {sample_id: samples.get(conn, sample_id) for sample_id in wanted}
    if not (counted.get("proposed") or held):
        return
    st.subheader("Proposed for training")
    st.caption(
        f"{counted.get('proposed', 0)} wait for the quarantine check, {counted.get('quarantined', 0)} for a second "
        f"person; {counted.get('refused', 0)} were refused."
    )
    if missing:
        st.caption(
            f"The stream has changed, so good parts look unlike the normals known from before. Once {missing} more of "
            "those that came since are accepted, the others are compared with them."
        )
    for sample in held:
        _one(sample, names.get(sample.added_by or 0, "the agent"), near)


def _one(sample: Sample, by: str, near: Mapping[int, Sample]) -> None:
    found = sample.quarantine or {}
    said, left, right = st.columns((2, 1, 2), vertical_alignment="center")
    said.markdown(f"**Sample {sample.id}**, approved by {by}: {found.get('words', 'a second person is asked for')}")
    left.html(_picture(sample, "proposed"))
    like = [_picture(near[one], near[one].reason or "defect") for one in found.get("nearest", ()) if one in near]
    if like:  # not compared with any: unreadable, or a second person is always asked
        right.html("".join(like))
    if not context.may("engineer"):
        return
    user = context.actor()
    assert user is not None
    with said.container(horizontal=True):
        if st.button("Good: let it train", key=f"accept-{sample.id}"):
            context.act(lambda **given: service.accept(context.engine(), user, sample.id, **given), "accepted")
        if st.button("Refuse", key=f"refuse-{sample.id}"):
            why = "a second person refused it"
            context.act(lambda **given: service.refuse(context.engine(), user, sample.id, why, **given), "refused")


def _picture(sample: Sample, caption: str) -> str:
    return (
        f'<figure style="display:inline-block;margin:0 8px 0 0"><img src="/blob/{sample.blob_sha256}" '
        f'style="height:110px" alt="sample {sample.id}"><figcaption>{escape(caption)}</figcaption></figure>'
    )
