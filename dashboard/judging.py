"""One decision on many parts, as the Triage page asks for it: which, what, a second look, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import uuid4

import streamlit as st

from agent.service import bulk
from agent.service.bulk import MOST, Bulk
from agent.service.ranks import Refused
from agent.settings import utc_now
from agent.store.errors import StoreError
from agent.store.items import Item
from agent.store.users import User
from dashboard import context

TICKED, ALL = "the ticked ones", "all that match"
REFUSALS = 5  # told at most


def tick(place: st.delta_generator.DeltaGenerator, one: Item) -> bool:
    """Draws a part's box, where it can be judged here; whether it is ticked."""
    if one.state == "closed" or not context.may("operator"):
        return False
    return bool(place.checkbox("judge", key=f"tick-{one.id}"))


def bar(ticked: Sequence[int], matching: Callable[[], Sequence[int]]) -> None:
    """Draws what to do with the ticked parts, or with all that match and are not closed."""
    user = context.actor()
    if user is None or not context.may("operator"):
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.segmented_control("Judge", [TICKED, ALL], default=TICKED, required=True, key="which")
        decision = st.segmented_control("as", ["normal", "defect"], default="normal", required=True, key="as")
        reasons = context.settings().review.reasons
        reason = st.selectbox("Reason", reasons, key="because") if decision == "defect" else None
        nothing = which == TICKED and not ticked
        if st.button("Judge …", icon=":material/gavel:", disabled=nothing):
            ids = list(ticked) if which == TICKED else list(matching())
            _confirm(user, ids, decision or "normal", reason, f"bulk-{uuid4()}")


@st.dialog("Judge many parts at once")
def _confirm(user: User, ids: Sequence[int], decision: str, reason: str | None, key: str) -> None:
    what = f"{decision}: {reason}" if reason else decision
    st.write(f"{len(ids)} parts as **{what}**. Audited parts are left out, and parts that somebody else looks at.")
    if len(ids) == MOST:
        st.warning(f"At most {MOST} at once: there may be more.")
    if st.button(f"Judge {len(ids)} parts as {what}", type="primary", disabled=not ids):
        rules, double = context.settings().samples, context.settings().review.double
        try:
            done = bulk.decide(
                context.engine(), user, ids, decision, reason, rules=rules, double=double, key=key, now=utc_now(),
            )  # fmt: skip
        except (Refused, StoreError) as error:
            st.error(str(error))  # pressed again, it goes on where it ended: the key is the same
            return
        st.session_state[f"bulk-{user.id}"] = (what, done)
        st.rerun()


def way_back() -> None:
    """Says what the last judging did, and offers to take it back."""
    user = context.actor()
    last: tuple[str, Bulk] | None = st.session_state.get(f"bulk-{user.id}") if user else None
    if user is None or last is None:
        return
    what, done = last
    words, button = st.columns((4, 1), vertical_alignment="center")
    words.success(f"{len(done.done)} parts were judged as {what}.", icon=":material/gavel:")
    if done.done and button.button("Undo", icon=":material/undo:"):
        back = bulk.undo(context.engine(), user, done.done, key=f"back-{uuid4()}", now=utc_now())
        del st.session_state[f"bulk-{user.id}"]
        st.toast(f"{len(back.done)} parts are as they were" + (f", {len(back.refused)} not" if back.refused else ""))
        st.rerun()
    if done.refused:
        told = [f"- {why}" for _, why in done.refused[:REFUSALS]]
        rest = len(done.refused) - REFUSALS
        st.warning("\n".join(["Not judged:", *told, *([f"- and {rest} more"] if rest > 0 else [])]))
