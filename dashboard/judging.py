"""One decision on many parts, as the Triage page asks for it: which, what, a second look, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import streamlit as st

from agent.service import bulk
from agent.service.bulk import MOST
from agent.service.ranks import Refused
from agent.settings import utc_now
from agent.store.errors import StoreError
from agent.store.items import Item
from agent.store.users import User
from dashboard import context, ticks
from dashboard.tables import plain

TICKED, ALL = "the ticked ones", "all that match"
REFUSALS = 5  # told at most


@dataclass(frozen=True, slots=True)
class Last:
    """What was done last: in words, what was left out, and what can be taken back: reviews by item, under a key."""

    words: str
    left_out: str
    refused: Sequence[tuple[int, str]]
    made: Mapping[int, int] = field(default_factory=dict)
    key: str = ""


def bar(shown: Sequence[Item], ticked: Sequence[int], matching: Callable[[], Sequence[int]], count: str) -> None:
    """Draws what to do with the ticked parts, or with all that match and are open.

    Args:
        shown: the parts on the page.
        ticked: those of the ticked ones that can be judged.
        matching: all that match and are open.
        count: how many these are, in words.
    """
    user = context.actor()
    if user is None or not context.may("operator"):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Select page", icon=":material/select_all:", on_click=ticks.tick, args=(ticks.open_of(shown),))
        st.button("Select none", icon=":material/deselect:", on_click=ticks.untick, disabled=not ticks.ticked())
        st.markdown(f"{len(ticked):,} ticked; {count} that match and are open.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        which = st.segmented_control("Judge", [TICKED, ALL], default=TICKED, required=True, key="which")
        decision = st.segmented_control("as", ["normal", "defect"], default="normal", required=True, key="as")
        # Drawn for normals, too: the button beside it must not move under the pointer.
        because = st.selectbox(
            "because of", context.settings().review.reasons, key="because", disabled=decision != "defect"
        )
        reason = because if decision == "defect" else None
        nothing = which == TICKED and not ticked
        if st.button("Judge …", icon=":material/gavel:", disabled=nothing):
            ids = list(ticked) if which == TICKED else list(matching())
            _confirm(user, ids, decision or "normal", reason, f"bulk-{uuid4()}")


@st.dialog("Judge many parts at once")
def _confirm(user: User, ids: Sequence[int], decision: str, reason: str | None, key: str) -> None:
    what = f"{decision}: {reason}" if reason else decision
    st.write(f"{len(ids)} parts as **{plain(what)}**. Parts that somebody else looks at are left out.")
    if len(ids) == MOST:
        st.warning(f"At most {MOST} at once: there may be more.")
    if st.button(f"Judge {len(ids)} parts as {plain(what)}", type="primary", disabled=not ids):
        rules, double = context.settings().samples, context.settings().review.double
        try:
            done = bulk.decide(
                context.engine(), user, ids, decision, reason, rules=rules, double=double, key=key, now=utc_now(),
            )  # fmt: skip
        except (Refused, StoreError) as error:
            st.error(plain(str(error)))  # pressed again, it goes on where it ended: the key is the same
            return
        ticks.ticked().difference_update(ids)
        words = f"{len(done.done)} parts were judged as {what}."
        st.session_state[f"bulk-{user.id}"] = Last(words, "Not judged", done.refused, done.reviews, f"{key}:back")
        st.rerun()


def way_back() -> None:
    """Says what the last judging did, and offers to take it back; nobody's later verdict is taken back with it."""
    user = context.actor()
    last: Last | None = st.session_state.get(f"bulk-{user.id}") if user else None
    if user is None or last is None:
        return
    words, button = st.columns((4, 1), vertical_alignment="center")
    words.success(plain(last.words), icon=":material/gavel:")
    if last.made and button.button("Undo", icon=":material/undo:"):
        back = bulk.undo(context.engine(), user, last.made, key=last.key, now=utc_now())
        told = f"{len(back.done)} parts are as they were."
        st.session_state[f"bulk-{user.id}"] = Last(told, "Not taken back", back.refused)
        st.rerun()
    if last.refused:
        named = [f"- {plain(why)}" for _, why in last.refused[:REFUSALS]]
        rest = len(last.refused) - REFUSALS
        st.warning("\n".join([f"{last.left_out}:", *named, *([f"- and {rest} more"] if rest > 0 else [])]))
