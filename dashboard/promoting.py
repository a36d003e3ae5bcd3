"""What engineers do with versions: retrain, promote, reject, roll back, certify anew."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from agent.service import models, retrain
from agent.store.products import Product
from agent.store.registry import Deployment, ModelVersion
from agent.store.users import User
from dashboard import context, recertifying
from dashboard.barred import barred
from dashboard.recertifying import Due


def actions(product: Product, versions: Sequence[ModelVersion], live: Deployment | None, due: Due) -> None:
    """Draws the buttons; they are disabled for whoever may not."""
    user, why_not = context.actor(), barred("engineer")
    candidates = [one for one in versions if one.state == "candidate"]
    with st.container(horizontal=True, vertical_alignment="center"):
        off = why_not is not None
        pressed = st.button("Retrain now", icon=":material/model_training:", key="retrain", disabled=off)
        st.checkbox("From fresh weights", key="cold", help="Nothing of a revoked sample stays in them.", disabled=off)
        if pressed and user:
            cold = bool(st.session_state.get("cold"))
            context.act(partial(retrain.request, context.engine(), user, product.id, cold=cold), "a run is queued")
        with st.popover("Promote a candidate", disabled=off or not candidates):
            if candidates and user and not off:  # it is drawn where it cannot be opened, too
                _promote(product, candidates, user)
        with st.popover("Reject a candidate", disabled=off or not candidates):
            if candidates and user and not off:
                _reject(candidates, user)
        with st.popover("Roll back", disabled=off or live is None):
            if live and user and not off:
                _roll_back(product, live, user)
        if user and not off:
            recertifying.button(due, user, "recertify")
    if why_not:
        st.caption(f"Engineers retrain, promote and roll back here. {why_not}")


def _promote(product: Product, candidates: Sequence[ModelVersion], user: User) -> None:
    version = _choose(candidates, "candidate")
    why = st.text_input("Why", key="promote-why")
    if st.button("Promote", key="promote", disabled=not why.strip()):
        settings = context.settings()
        promote = partial(
            models.promote, context.engine(), user, version.id, why, settings.decision_hash,
            watch_share=settings.watch.share,
        )  # fmt: skip
        if context.act(promote, "promoted"):
            context.live().notify_promotion(product.id)


def _reject(candidates: Sequence[ModelVersion], user: User) -> None:
    version = _choose(candidates, "unwanted")
    st.caption("It stays on record, and can be promoted after all: `goodpart models promote`.")
    why = st.text_input("Why", key="reject-why")
    if st.button("Reject", key="reject", disabled=not why.strip()):
        context.act(partial(models.reject, context.engine(), user, version.id, why), "rejected")


def _roll_back(product: Product, live: Deployment, user: User) -> None:
    st.caption(f"v{live.number} becomes rejected, and the model before it decides again.")
    why = st.text_input("Why", key="rollback-why")
    pressed = st.button("Roll back", key="rollback", disabled=not why.strip())
    roll_back = partial(models.rollback, context.engine(), user, product.id, why)
    if pressed and context.act(roll_back, "rolled back"):
        context.live().notify_promotion(product.id)


def _choose(candidates: Sequence[ModelVersion], key: str) -> ModelVersion:
    found = {one.number: one for one in candidates}
    return found[st.selectbox("Version", list(found), key=key, format_func=lambda one: f"v{one}")]
