"""The shell tells Streamlit where its server is."""

from __future__ import annotations

from playwright.sync_api import Page, Request

from dashboard import pages
from tests.ui.plant import Served

ROOTS = ("/_stcore/health", "/_stcore/host-config")


def test_no_page_looks_for_its_server_under_its_own_address(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(_path(one)))
    page.on("websocket", lambda _: asked.append("socket"))
    for path in ("", *(one.path for one in pages.VIEWS)):
        asked.clear()
        page.goto(f"{served.url}/{path}?user=operator")
        page.wait_for_function("() => document.title !== 'Streamlit'")
        assert asked.count("socket") == 1, path
        assert {one for one in asked if "_stcore/" in one} <= {*ROOTS}, path


def _path(request: Request) -> str:
    return "/" + request.url.partition("://")[2].partition("/")[2].partition("?")[0]
