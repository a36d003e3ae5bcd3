"""Why the acting user may not do something, in words: what a page says before the press."""

from __future__ import annotations

import streamlit as st

from dashboard import context
from dashboard.codes import shown
from dashboard.style import CSS
from dashboard.tables import plain
from dashboard.words import later, say

PEOPLE = {
    "operator": (later("Operators do this."), later("Operators do this; {name} is {role}.")),
    "engineer": (later("Engineers do this."), later("Engineers do this; {name} is {role}.")),
    "admin": (later("Admins do this."), later("Admins do this; {name} is {role}.")),
}
PAGES = {
    "operator": later("This page is for operators, engineers and admins."),
    "engineer": later("This page is for engineers and admins."),
}


def page(title: str, least: str) -> None:
    """Draws, at the address of a page that the acting user may not see, whom it is for."""
    st.html(f"<style>{CSS}</style>")
    st.title(title)
    st.info(say(PAGES[least]), icon=":material/lock:")
    user = context.actor()
    if user is not None:
        other = later("{name} is {role}. An admin can give another role.")
        st.caption(say(other, name=plain(user.name), role=shown(user.role)))


def barred(least: str) -> str | None:
    """A sentence where they may not do what takes at least this role; None where they may."""
    if context.may(least):
        return None
    nobody, somebody = PEOPLE[least]
    user = context.actor()
    return say(somebody, name=user.name, role=shown(user.role)) if user else say(nobody)
