"""What waits for a second person: parts proposed for training, and samples that somebody asks to take out."""

from __future__ import annotations

import streamlit as st

from agent.store import sample_search, users, withdrawals
from dashboard import browsing, context, proposals, withdrawing
from dashboard.parts import ROW
from dashboard.words import say


def show(product_id: int) -> None:
    """Draws both."""
    _withdrawals(product_id)
    proposals.show(product_id)


def _withdrawals(product_id: int) -> None:
    with context.reading() as conn:
        every = withdrawals.all(conn, product_id)
        found = sample_search.some(conn, [one.sample_id for one in every])
        names = {user.id: user.name for user in users.all(conn, disabled=True)}
    asked = [one for one in every if one.sample_id in found]  # the others show once all of their part is judged
    if not asked:
        return
    st.subheader(say("Asked to be taken out"))
    for at in range(0, len(asked), ROW):
        for column, one in zip(st.columns(ROW), asked[at : at + ROW], strict=False):
            with column:
                st.html(browsing.card(found[one.sample_id], names))
                withdrawing.controls(one.sample_id, found[one.sample_id].sample.role, one, names)
