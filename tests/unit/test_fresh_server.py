"""The first request to a server, without a session, is shown the sign-in and nothing else, whatever view it asks for.

Which pages there are Streamlit (1.67) keeps by session: the first request of a server is as that of any session but
for what is kept for all of them, the compiled script and whether a folder `pages` lies beside it
(`PagesManager.uses_pages_directory`): the files of that would be run from their addresses, and our script would not.
AppTest forgets both before each run, as a server that has just started; the fixture forgets what we keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.context import ContextProxy
from streamlit.runtime.scriptrunner import RerunData
from streamlit.testing.v1 import AppTest, app_test
from streamlit.testing.v1.local_script_runner import LocalScriptRunner
from streamlit.util import calc_hash

from agent.service import sessions, users
from agent.service.tries import Tries
from agent.settings import environment, load, utc_now
from agent.store.engine import writing
from dashboard import context, serve
from dashboard.components import module
from dashboard.pages import VIEWS, View
from tests.databases import Line

PASSWORD = "correct horse battery"
TOLD = ("press-1", "flange", "S3", "operator", "engineer")  # what pages tell of the plant and its people


@pytest.fixture
def plant(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """Where one has to sign in; what the server remembers of its own is forgotten before and after."""
    for name, value in environment(load(None, {"GOODPART_DATABASE__URL": str(here.engine.url)})).items():
        monkeypatch.setenv(name, value)
    remembered = (context.settings, context.database, context.seal, context.live, context.blobs, module.component)
    for one in remembered:
        one.cache_clear()
    with writing(here.engine) as conn:
        here.add_item(conn, 3, serial="S3", event_at=utc_now())
    monkeypatch.setattr(ContextProxy, "cookies", {})  # of whoever asks: AppTest has none to give
    users.set_password(here.engine, here.admin, "admin", PASSWORD, key="w", now=utc_now())
    yield here
    context.database().dispose()
    for one in remembered:
        one.cache_clear()


class First(LocalScriptRunner):
    """Runs a session's first request, as a browser that opens an address sends it: by the page's name."""

    name = ""
    sent = ""  # all that the last one was told

    def request_rerun(self, rerun_data: RerunData) -> bool:
        return super().request_rerun(replace(rerun_data, page_name=First.name))

    def forward_msgs(self) -> list[ForwardMsg]:
        told = super().forward_msgs()
        First.sent = "".join(map(str, told))
        return told


def _first(monkeypatch: pytest.MonkeyPatch, view: View, *, by_name: bool, session: str = "") -> AppTest:
    """The server's first session once it is drawn; one that was there before the server asks by the page's hash."""
    monkeypatch.setattr(app_test, "LocalScriptRunner", First)
    monkeypatch.setattr(First, "name", view.path if by_name else "")
    page = AppTest.from_file(serve.SCRIPT, default_timeout=60)
    page._page_hash = "" if by_name else calc_hash(view.path)
    page.query_params["user"] = "admin"
    if session:
        page.session_state["session"] = session
    page.run()
    assert not page.exception, page.exception
    return page


def _drawn(page: AppTest) -> list[str]:
    return [one.type for area in (page.main, page.sidebar) for one in area.children.values()]


@pytest.mark.parametrize("by_name", [True, False], ids=["opened", "was there before"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda one: one.path or "line")
def test_without_a_session_the_first_request_is_shown_the_sign_in_alone(
    plant: Line, monkeypatch: pytest.MonkeyPatch, view: View, by_name: bool
) -> None:
    page = _first(monkeypatch, view, by_name=by_name)
    assert _drawn(page) == ["title", "bidi_component"]
    assert page.title[0].value == "goodpart"
    assert not [word for word in TOLD if word in First.sent]


def test_with_a_session_it_is_shown_what_it_asks_for(plant: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    made = sessions.by_password(plant.engine, Tries(), "admin", PASSWORD, terminal="0" * 32, now=utc_now())
    view = next(one for one in VIEWS if one.path == "triage")
    for by_name in (True, False):
        page = _first(monkeypatch, view, by_name=by_name, session=made.id)
        assert page.title[0].value == "Triage"
        assert {"press-1", "flange", "S3", "operator"} <= {word for word in TOLD if word in First.sent}
