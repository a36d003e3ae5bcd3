"""Users and their roles, for admins."""

from __future__ import annotations

from functools import partial

import streamlit as st

from agent.service import users as service
from agent.store import users
from agent.store.users import ROLES, User
from dashboard import context
from dashboard.tables import table


def show() -> None:
    """Draws who there is; an admin adds, changes and disables."""
    with context.reading() as conn:
        everyone = users.all(conn, disabled=True)
    st.html(
        table(
            [
                {"Name": one.name, "Role": one.role, "State": "disabled" if one.disabled_at else "active"}
                for one in everyone
            ]
        )
    )
    actor = context.actor()
    if actor is None or not context.may("admin"):
        st.caption("Admins add users, change their roles and disable them.")
        return
    _add(actor)
    _change(actor, [one for one in everyone if not one.disabled_at])


def _add(actor: User) -> None:
    with st.form("add-user", clear_on_submit=True), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("New user", max_chars=200)
        role = st.selectbox("Role", ROLES)
        if st.form_submit_button("Add", icon=":material/person_add:"):
            work = partial(service.add, context.engine(), actor, name.strip(), role)
            if context.act(work, f"{name.strip()} is {role}"):
                st.rerun()


def _change(actor: User, active: list[User]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        known = {one.name: one for one in active}
        name = st.selectbox("User", list(known), key="changed-user")
        role = st.selectbox("New role", ROLES, index=ROLES.index(known[name].role), key=f"role-{name}")
        if st.button("Change role", disabled=role == known[name].role):
            work = partial(service.change_role, context.engine(), actor, name, role)
            if context.act(work, f"{name} is {role} now"):
                st.rerun()
        sure = st.checkbox("Sure", key=f"sure-{name}")
        pressed = st.button("Disable", icon=":material/person_off:", disabled=not sure)
        if pressed and context.act(partial(service.disable, context.engine(), actor, name), f"{name} is disabled"):
            st.rerun()
