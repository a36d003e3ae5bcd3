"""The shell tells Streamlit where its server is, and browsers which language it speaks."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Request
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard import front, pages
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


@pytest.mark.parametrize(("language", "lang"), [("", "en"), ("de", "de"), ("pt_BR", "pt-BR"), ("zh-Hans", "zh-Hans")])
def test_the_shell_says_the_language_of_its_words(language: str, lang: str) -> None:
    with TestClient(Starlette(routes=front.routes(["/"], [], language))) as client:
        assert client.get("/").text.count(f'<html lang="{lang}">') == 1


def _path(request: Request) -> str:
    return "/" + request.url.partition("://")[2].partition("/")[2].partition("?")[0]
