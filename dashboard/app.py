"""The script that Streamlit runs for each page: who acts, which page, and one clear line where the store fails."""

from __future__ import annotations

import streamlit as st

from agent.store.errors import StoreError
from dashboard import context, pages


def main() -> None:
    """Draws the page asked for."""
    st.set_page_config(page_title="goodpart", page_icon="🔩", layout="wide")
    try:
        context.pick_actor()
        st.navigation([pages.page(one) for one in pages.views(context.actor())]).run()
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        st.caption("The agent keeps what is in flight and goes on by itself. This page comes back with a reload.")


main()
