"""The script that Streamlit runs for each page: who acts, which page, and one clear line where the store fails."""

from __future__ import annotations

import streamlit as st

from dashboard import context, pages
from dashboard.components import door
from dashboard.fragments import RELOAD, told
from dashboard.seals import mark
from dashboard.views import sign_in


def main() -> None:
    """Draws the page asked for; to whoever has not signed in the sign-in, whatever they asked for."""
    st.set_page_config(page_title="goodpart", page_icon="🔩", layout="wide", initial_sidebar_state=220)
    with told(RELOAD):
        if context.enter():
            user = context.actor()
            page = st.navigation(pages.offered(user))
            session_id = st.session_state.get("session")
            if user is not None and session_id:
                door.keep(user, mark(session_id), context.idle(), password=context.has_password(user))
        else:
            page = st.navigation([pages.page(one, sign_in.show) for one in pages.VIEWS], position="hidden")
        page.run()


main()
