"""All that somebody sees who has not signed in."""

from __future__ import annotations

import streamlit as st

from agent.service import sessions
from agent.settings import Oidc, utc_now
from agent.store import credentials, users
from agent.store.engine import reading
from dashboard import context, identities
from dashboard.components import door
from dashboard.words import say


def show() -> None:
    """Draws the page, whatever address it has."""
    st.title("goodpart")
    provider = context.settings().oidc
    if provider.issuer and _identified(provider):
        return
    with reading(context.database()) as conn:
        pins = sessions.pin_users(conn, st.context.cookies.get(context.cookie("terminal")), utc_now())
        passwords = credentials.any(conn)
    if provider.issuer:
        label = say("Sign in with your organisation")
        st.button(label, icon=":material/login:", type="primary", on_click=st.login, key="provider")
    if pins or passwords:
        door.enter(pins, password=passwords)


def _identified(provider: Oidc) -> bool:
    """Whether the provider has just named a user of ours, who is being signed in now."""
    if not st.user.is_logged_in:
        return False
    name, now = identities.named(st.user.to_dict(), provider, utc_now()), utc_now()
    if name is None:
        return False
    with reading(context.database()) as conn:
        user = users.find(conn, name)
    if user is None or user.disabled_at is not None:
        st.warning(say("The provider knows you, but you are no user here. An admin adds you, by this name:"))
        st.text(name)  # as it is: somebody else chose it
        return False
    door.exchange(context.seal().ticket(user, now))
    return True
