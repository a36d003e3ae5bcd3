"""Saying that a product's stream has changed: an epoch opens. For engineers."""

from __future__ import annotations

from functools import partial

import streamlit as st

from agent.service import epochs
from agent.store.epochs import Epoch
from agent.store.products import Product
from agent.store.users import User
from dashboard import context
from dashboard.codes import shown
from dashboard.words import say


def button(product: Product, newest: Epoch | None, user: User) -> None:
    """Draws it; disabled where there is no calibration set that could be cut off.

    Args:
        product: which product.
        newest: its open epoch; in the button's key, so that it does not act twice on what a person saw once.
        user: an engineer or higher.
    """
    with st.popover(say("The stream has changed"), icon=":material/change_circle:", disabled=newest is None):
        if newest is None:  # it is drawn where it cannot be opened, too
            return
        st.caption(
            say(
                "What calibrated before no longer speaks for it: the certificate reads lapsed, and more parts are "
                "drawn for the audit, until they give a new one."
            )
        )
        cause = st.selectbox(say("Cause"), epochs.CAUSES, key=f"changed-cause-{newest.id}", format_func=shown)
        why = st.text_input(say("What changed"), key=f"changed-why-{newest.id}", placeholder=say("new lamp"))
        if st.button(say("Open an epoch"), key=f"changed-{newest.id}", disabled=cause is None or not why.strip()):
            opened = partial(epochs.open, context.engine(), user, product.name, cause, why)
            if context.act(opened, say("an epoch is open")):
                st.rerun()
