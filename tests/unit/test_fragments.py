"""Parts of a page that draw themselves again: a database that is away is said in their place, and the rest stands."""

from __future__ import annotations

from pathlib import Path

from streamlit.testing.v1 import AppTest

import dashboard


def _page() -> None:
    import streamlit as st

    from agent.store.errors import Unreachable
    from dashboard.fragments import fragment

    def draw(words: str) -> None:
        left, _ = st.columns(2)
        with left:
            st.markdown("begun")
            raise Unreachable(words)

    fragment()(draw)("the database is [away](x)")
    fragment(run_every="5s")(draw)("here, too")
    st.markdown("the rest")


def test_a_store_that_fails_is_said_in_its_place() -> None:
    page = AppTest.from_function(_page, default_timeout=30).run()
    assert not page.exception, page.exception
    assert [one.value for one in page.error] == [r"the database is \[away\]\(x\)", "here, too".replace(",", r"\,")]
    assert [one.value.rpartition(". ")[2] for one in page.caption] == [
        "This page comes back with a reload.", "This part comes back by itself.",
    ]  # fmt: skip
    assert [one.value for one in page.markdown] == ["begun", "begun", "the rest"]


def test_every_other_one_is_one_of_ours() -> None:
    root = Path(dashboard.__file__).parent
    own = {path.relative_to(root).as_posix() for path in root.rglob("*.py") if "st.fragment" in path.read_text()}
    assert own == {"fragments.py", "views/line.py"}, "the board says it over greyed tiles"
