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
from agent.store.drawing import Drawing
from agent.store.errors import StoreError
from agent.store.items import Item
from agent.store.users import User
from dashboard import busy, context, ticks
from dashboard.codes import named
from dashboard.desk import learnt
from dashboard.tables import plain
from dashboard.words import later, retold, say

TICKED, ALL = later("the ticked ones"), later("all that match")
REFUSALS = 5  # told at most


@dataclass(frozen=True, slots=True)
class Last:
    """What was done last: in words, what heads those left out, and what can be taken back: reviews by item, under a
    key.
    """

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
        every, none = say("Select page"), say("Select none")
        here, unticked = ticks.open_of(shown), not ticks.ticked()
        st.button(every, icon=":material/select_all:", on_click=ticks.tick, args=(here,), key="tick-page")
        st.button(none, icon=":material/deselect:", on_click=ticks.untick, disabled=unticked, key="tick-none")
        st.markdown(say("{n:,} ticked; {count} that match and are open.", n=len(ticked), count=count))
    # In columns, the one for the reason also where none is asked for: no button moves under the pointer.
    one, two, three, four = st.columns((3, 2, 3, 2), vertical_alignment="bottom")
    which = one.segmented_control(
        say("Judge"), [TICKED, ALL], default=TICKED, required=True, key="which", format_func=say
    )
    decision = two.segmented_control(
        say("as"), ["normal", "defect"], default="normal", required=True, key="as", format_func=say
    )
    reasons, reason = context.settings().review.reasons, None
    if decision == "defect":
        reason = three.selectbox(say("because of"), reasons, key="because", format_func=named)
    nothing = which == TICKED and not ticked
    if four.button(say("Judge …"), icon=":material/gavel:", disabled=nothing, key="judge"):
        ids = list(ticked) if which == TICKED else list(matching())
        ask = st.dialog(say("Judge many parts at once"))(_confirm)
        ask(user, ids, decision or "normal", reason, f"bulk-{uuid4()}")


def _confirm(user: User, ids: Sequence[int], decision: str, reason: str | None, key: str) -> None:
    what = f"{say(decision)}: {named(reason)}" if reason else say(decision)
    st.write(
        say("{n} parts as **{what}**. Parts that somebody else looks at are left out.", n=len(ids), what=plain(what))
    )
    if len(ids) == MOST:
        st.warning(say("At most {n} at once: there may be more.", n=MOST))
    label = say("Judge {n} parts as {what}", n=len(ids), what=plain(what))
    if st.button(label, type="primary", disabled=not ids, key="judge-them"):
        settings, steps = context.settings(), busy.Steps(len(ids), say("Judging"))
        try:
            done = bulk.decide(
                context.engine(), user, ids, decision, reason, rules=settings.samples, double=settings.review.double,
                drawn=Drawing(settings.audit, settings.certificate), key=key, now=utc_now(), told=steps,
            )  # fmt: skip
        except (Refused, StoreError) as error:
            st.error(plain(retold(error.phrase)))  # pressed again, it goes on where it ended: the key is the same
            return
        ticks.ticked().difference_update(ids)
        words = say("{n} parts were judged as {what}.", n=len(done.done), what=what)
        left_out = say("Not judged:")
        st.session_state[f"bulk-{user.id}"] = Last(words, left_out, done.refused, done.reviews, f"{key}:back")
        steps.end()
        st.rerun()


def way_back() -> None:
    """Says what the last judging did, and offers to take it back; nobody's later verdict is taken back with it."""
    user = context.actor()
    last: Last | None = st.session_state.get(f"bulk-{user.id}") if user else None
    if user is None or last is None:
        return
    words, button = st.columns((4, 1), vertical_alignment="center")
    words.success(plain(last.words), icon=":material/gavel:")
    if last.made and button.button(say("Undo"), icon=":material/undo:", key="bulk-undo"):
        steps = busy.Steps(len(last.made), say("Taking back"))
        back = bulk.undo(context.engine(), user, last.made, key=last.key, now=utc_now(), told=steps)
        told = say("{n} parts are as they were.", n=len(back.done))
        told += f" {learnt(back.live)}" if back.live else ""
        st.session_state[f"bulk-{user.id}"] = Last(told, say("Not taken back:"), back.refused)
        steps.end()
        st.rerun()
    if last.refused:
        whose = [f"- {plain(retold(why))}" for _, why in last.refused[:REFUSALS]]
        rest = len(last.refused) - REFUSALS
        more = [f"- {say('and {n} more', n=rest)}"] if rest > 0 else []
        st.warning("\n".join([last.left_out, *whose, *more]))
