"""Users and their roles, for admins."""

from __future__ import annotations

from functools import partial

import streamlit as st

from agent.service import users as service
from agent.store import users
from agent.store.users import ROLES, User
from dashboard import context
from dashboard.codes import shown
from dashboard.tables import table
from dashboard.words import later, say


def show() -> None:
    """Draws who there is; an admin adds, changes and disables."""
    with context.reading() as conn:
        everyone = users.all(conn, disabled=True)
    st.html(
        table(
            [
                {
                    later("Name"): one.name,
                    later("Role"): shown(one.role),
                    later("State"): say("disabled") if one.disabled_at else say("active"),
                }
                for one in everyone
            ]
        )
    )
    actor = context.actor()
    if actor is None or not context.may("admin"):
        st.caption(say("Admins add users, change their roles and disable them."))
        return
    _add(actor)
    _change(actor, [one for one in everyone if not one.disabled_at])


def _add(actor: User) -> None:
    with st.form("add-user", clear_on_submit=True), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(say("New user"), max_chars=200, key="new-user")
        role = st.selectbox(say("Role"), ROLES, key="new-user-role", format_func=shown)
        if st.form_submit_button(say("Add"), icon=":material/person_add:"):
            work = partial(service.add, context.engine(), actor, name.strip(), role)
            if context.act(work, say("{name} is {role}", name=name.strip(), role=shown(role))):
                st.rerun()


def _change(actor: User, active: list[User]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        known = {one.name: one for one in active}
        name = st.selectbox(say("User"), list(known), key="changed-user")
        role = st.selectbox(
            say("New role"), ROLES, index=ROLES.index(known[name].role), key=f"role-{name}", format_func=shown
        )
        if st.button(say("Change role"), disabled=role == known[name].role, key="change-role"):
            work = partial(service.change_role, context.engine(), actor, name, role)
            if context.act(work, say("{name} is {role} now", name=name, role=shown(role))):
                st.rerun()
        sure = st.checkbox(say("Sure"), key=f"sure-{name}")
        pressed = st.button(say("Disable"), icon=":material/person_off:", disabled=not sure, key="disable")
        disable = partial(service.disable, context.engine(), actor, name)
        if pressed and context.act(disable, say("{name} is disabled", name=name)):
            st.rerun()
