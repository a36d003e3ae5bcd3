"""Who did what, whether the chain of it is whole, what decided when, and who may do what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

import streamlit as st

from agent.store import audit, users
from agent.store.audit import Event
from dashboard import clocks, context, deciders, details, people
from dashboard.filters import ALL, one_or_all, typed
from dashboard.style import CSS
from dashboard.tables import table
from dashboard.words import later, say

PAGE = 50
AGENT = later("the agent")


def show() -> None:
    """Draws the page."""
    st.html(f"<style>{CSS}</style>")
    st.title(say("Audit"))
    clocks.tell()
    with context.reading() as conn:
        names = {one.id: one.name for one in users.all(conn, disabled=True)}
        actions = audit.actions(conn)
    who, what, whom = st.columns(3)
    name = one_or_all(who, "person", say("Who"), names.values())
    action = one_or_all(what, "action", say("Action"), actions)
    subject = typed(whom, "subject", say("Subject"), say("all, or such as item:12"))
    asked = {
        "user_id": next((id_ for id_, one in names.items() if one == name), None),
        "action": None if action == ALL else action,
        "subject": subject or None,
    }
    _events(asked, names)
    _chain()
    deciders.show(names)
    st.subheader(say("Users"))
    people.show()


def _events(asked: Mapping[str, object], names: Mapping[int, str]) -> None:
    shown = int(st.session_state.get("audit-shown", PAGE))
    with context.reading() as conn:
        found = audit.recent(conn, shown + 1, **asked)  # type: ignore[arg-type]
    if not found:
        st.info(say("Nobody has done that yet."))
        return
    st.html(table(rows(found[:shown], names, clocks.zone())))
    if len(found) > shown and st.button(say("Show earlier ones"), key="earlier-events"):
        st.session_state["audit-shown"] = shown + PAGE
        st.rerun()


def rows(events: Sequence[Event], names: Mapping[int, str], zone: tzinfo) -> list[dict[str, object]]:
    """The events for people, in their order."""
    return [
        {
            later("When"): f"{one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            later("Who"): _who(one, names),
            later("Action"): one.action,
            later("Subject"): one.subject,
            later("Detail"): details.told(_shown(one), names),
        }
        for one in events
    ]


def _who(one: Event, names: Mapping[int, str]) -> str:
    if one.user_id is None:
        return say(AGENT)
    return names.get(one.user_id) or say("user {id}", id=one.user_id)


def _shown(one: Event) -> Mapping[str, object]:
    """The detail without what the subject says, and what the first of two people said of a part that waits again.

    The second one may be reading.
    """
    kept = {name: value for name, value in one.detail.items() if f"{name.removesuffix('_id')}:{value}" != one.subject}
    if kept.get("state") != "open":
        return kept
    return {name: value for name, value in kept.items() if name not in ("decision", "reason", "note", "took_back")}


def _chain() -> None:
    told = say("computes every event's hash anew")
    if not st.button(say("Check the chain"), icon=":material/link:", help=told, key="check-chain"):
        return
    with context.reading() as conn:
        broken, last = audit.verify(conn), audit.last(conn)
    if broken is None:
        st.success(
            say(
                "The chain is whole. Its newest hash: `{last}`: with a copy kept elsewhere, cuts at its end show.",
                last=last,
            )
        )
    else:
        st.error(say("Event {broken} was changed, or the one before it is missing.", broken=broken))
