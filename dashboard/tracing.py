"""One sample: what is on record of it, which models saw it, and taking it out."""

from __future__ import annotations

from functools import partial

import streamlit as st

from agent.service import retrain as training
from agent.service import samples as service
from agent.store import lineage, sample_search, samples, users, withdrawals
from agent.store.lineage import Lineage
from agent.store.sample_search import Found
from agent.store.samples import Sample
from dashboard import clocks, context, proposals, withdrawing
from dashboard.barred import barred
from dashboard.gallery import link_to_all
from dashboard.parts import picture
from dashboard.samples import ROLES, facts, meaning, seen_by
from dashboard.tables import table
from dashboard.words import opening, say


def show(product_id: int, sample_id: int) -> None:
    """Draws the sample of that id."""
    with context.reading() as conn:
        found = sample_search.some(conn, [sample_id]).get(sample_id)
        if found is None or found.sample.product_id != product_id:
            st.info(say("There is no sample {sample_id} of this product.", sample_id=sample_id))
            return
        used = lineage.of_sample(conn, sample_id)
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
        asked = withdrawals.open_of(conn, sample_id)
        roles = samples.roles_of_part(conn, found.sample)
        near = sample_search.some(conn, proposals.nearest(found.sample))
    one, zone = found.sample, clocks.zone()
    left, right = st.columns((2, 3))
    left.html(picture(one.blob_sha256, say("sample {id}", id=one.id), "width:100%"))
    with right:
        st.html(table(facts(found, names, zone)))
        if one.serial:
            st.html(link_to_all(one.serial))
        st.caption(f"{opening(say(ROLES[one.role]))}.")
        proposals.resembles(one, near)
    st.subheader(say("Which models saw it"))
    _models(used, seen_by(used, zone))
    st.subheader(say("Taking it out") if one.revoked_at is None else say("It was taken out"))
    _leave(found, used, roles)
    if one.revoked_at is None and one.role != "train":
        _two_people(one)
        withdrawing.controls(one.id, one.role, asked, names)


def _models(used: Lineage, rows: list[dict[str, object]]) -> None:
    if rows:
        st.html(table(rows))
    else:
        st.markdown(say("None."))
    snapshots, runs = (", ".join(map(str, ids)) or say("none") for ids in (used.snapshots, used.runs))
    st.caption(say("Frozen in snapshots: {snapshots}. Training runs on these: {runs}.", snapshots=snapshots, runs=runs))


def _two_people(one: Sample) -> None:
    if one.role == "defect":
        said = say("A defect leaves the bank by two people: one asks, an engineer confirms.")
    else:
        said = say(
            "It measures models. It leaves only as a defect, with all images of its part, and by two people: one asks, "
            "an engineer confirms; else thresholds would hold for the parts that people like."
        )
    st.caption(" ".join(filter(None, (said, barred("operator")))))


def _leave(found: Found, used: Lineage, roles: set[str]) -> None:
    one = found.sample
    if one.role != "train":
        return
    if one.revoked_at is not None:
        st.markdown(meaning(used))
        if used.live is not None:
            _train_clean(one)
        return
    if one.state != "accepted":
        st.markdown(say("It is no training sample yet: a second person lets it train, or refuses it."))
        proposals.decide(one, roles)
        return
    st.markdown(say("Revoked, it trains nothing any more. {meaning}", meaning=meaning(used)))
    _revoke(one)


def _revoke(one: Sample) -> None:
    user, why_not = context.actor(), barred("engineer")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        why = st.text_input(
            say("Why"), key=f"revoke-why-{one.id}", placeholder=say("a thumb"), disabled=why_not is not None
        )
        pressed = st.button(say("Revoke"), icon=":material/delete:", key=f"revoke-{one.id}", disabled=not why.strip())
    if why_not:
        st.caption(why_not)
    if pressed and user:
        revoke = partial(service.revoke, context.engine(), user, one.id, reason=why)
        if context.act(revoke, say("sample {id} is revoked", id=one.id)):
            st.rerun()


def _train_clean(one: Sample) -> None:
    user, why_not = context.actor(), barred("engineer")
    pressed = st.button(
        say("Train a clean model"), icon=":material/model_training:", key="train-clean", disabled=why_not is not None
    )
    if why_not:
        st.caption(why_not)
    if pressed and user:
        ask = partial(training.request, context.engine(), user, one.product_id, cold=True)
        context.act(ask, say("a run from fresh weights is queued: see the page Models"))
