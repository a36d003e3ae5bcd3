"""What engineers do with versions: retrain, promote, reject, roll back, certify anew, say that the stream changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from agent.service import models, retrain
from agent.store.epochs import Epoch
from agent.store.products import Product
from agent.store.registry import Deployment, ModelVersion
from agent.store.users import User
from dashboard import changing, context, recertifying
from dashboard.barred import barred
from dashboard.recertifying import Due
from dashboard.words import say


def actions(
    product: Product, versions: Sequence[ModelVersion], live: Deployment | None, due: Due, newest: Epoch | None
) -> None:
    """Draws the buttons; they are disabled for whoever may not. `newest` is the product's open epoch."""
    user, why_not = context.actor(), barred("engineer")
    candidates = [one for one in versions if one.state == "candidate"]
    with st.container(horizontal=True, vertical_alignment="center"):
        off = why_not is not None
        pressed = st.button(say("Retrain now"), icon=":material/model_training:", key="retrain", disabled=off)
        st.checkbox(
            say("From fresh weights"), key="cold", help=say("Nothing of a revoked sample stays in them."), disabled=off
        )
        if pressed and user:
            cold = bool(st.session_state.get("cold"))
            context.act(partial(retrain.request, context.engine(), user, product.id, cold=cold), say("a run is queued"))
        with st.popover(say("Promote a candidate"), disabled=off or not candidates):
            if candidates and user and not off:  # it is drawn where it cannot be opened, too
                _promote(product, candidates, live, user)
        with st.popover(say("Reject a candidate"), disabled=off or not candidates):
            if candidates and user and not off:
                _reject(product, candidates, user)
        with st.popover(say("Roll back"), disabled=off or live is None):
            if live and user and not off:
                _roll_back(product, live, user)
        if user and not off:
            recertifying.button(due, user, "recertify")
            changing.button(product, newest, user)
    if why_not:
        st.caption(say("Engineers retrain, promote and roll back here. {why_not}", why_not=why_not))


# What a button acts on is in its key: pressed twice, it does not act on what has taken that one's place.


def _promote(product: Product, candidates: Sequence[ModelVersion], live: Deployment | None, user: User) -> None:
    version, shown = _choose(candidates, f"candidate-{product.id}"), live.id if live else 0
    why = st.text_input(say("Why"), key=f"promote-why-{version.id}")
    if st.button(say("Promote"), key=f"promote-{version.id}-over-{shown}", disabled=not why.strip()):
        settings = context.settings()
        promote = partial(
            models.promote, context.engine(), user, version.id, why, settings.decision_hash,
            watch_share=settings.watch.share, expected=shown,
        )  # fmt: skip
        if context.act(promote, say("promoted")):
            context.live().notify_promotion(product.id)


def _reject(product: Product, candidates: Sequence[ModelVersion], user: User) -> None:
    version = _choose(candidates, f"unwanted-{product.id}")
    st.caption(say("It stays on record, and can be promoted after all: `goodpart models promote`."))
    why = st.text_input(say("Why"), key=f"reject-why-{version.id}")
    if st.button(say("Reject"), key=f"reject-{version.id}", disabled=not why.strip()):
        context.act(partial(models.reject, context.engine(), user, version.id, why), say("rejected"))


def _roll_back(product: Product, live: Deployment, user: User) -> None:
    st.caption(say("v{number} becomes rejected, and the model before it decides again.", number=live.number))
    why = st.text_input(say("Why"), key=f"rollback-why-{live.id}")
    pressed = st.button(say("Roll back"), key=f"rollback-{live.id}", disabled=not why.strip())
    roll_back = partial(models.rollback, context.engine(), user, product.id, why, expected=live.id)
    if pressed and context.act(roll_back, say("rolled back")):
        context.live().notify_promotion(product.id)


def _choose(candidates: Sequence[ModelVersion], key: str) -> ModelVersion:
    found = {one.number: one for one in candidates}
    return found[st.selectbox(say("Version"), list(found), key=key, format_func=lambda one: f"v{one}")]
