"""The routes by which a page signs in and out: which cookies they set, when, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from agent.service import users
from agent.service.tries import Tries
from agent.settings import Settings, load
from agent.store import audit
from agent.store.engine import reading
from agent.store.install import install_of
from dashboard import context, entering
from dashboard.context import COOKIE, TERMINAL
from dashboard.seals import COOKIE_LIFE, TICKET_LIFE, Seal
from tests.databases import NOW, Line

US = "https://goodpart.example"
WORDS = "correct horse battery"
IDLE = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (entering, context):
        monkeypatch.setattr(module, "utc_now", made)
    return made


@pytest.fixture
def seal(here: Line) -> Seal:
    with reading(here.engine) as conn:
        return Seal(install_of(conn).secret)


@pytest.fixture
def client(here: Line, clock: Clock, seal: Seal, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    settings: Settings = load(None, {"GOODPART_DASHBOARD__URL": US})
    tries = Tries()
    for name, value in (("database", here.engine), ("settings", settings), ("seal", seal), ("tries", tries)):
        monkeypatch.setattr(context, name, lambda value=value: value)
    users.set_password(here.engine, here.admin, "operator", WORDS, key="w", now=NOW)
    with TestClient(Starlette(routes=entering.routes()), base_url=US) as made:
        yield made


def _in(client: TestClient) -> Any:
    return client.post("/session/password", json={"name": "operator", "password": WORDS})


def _allowed(client: TestClient) -> bool:
    return context.allowed(dict(client.cookies))


def test_a_right_password_sets_cookies_that_no_script_reads_and_no_other_site_sends(client: TestClient) -> None:
    assert not _allowed(client)
    wrong = client.post("/session/password", json={"name": "operator", "password": "no"})
    assert (wrong.status_code, wrong.headers.get_list("set-cookie")) == (401, [])
    answer = _in(client)
    assert answer.status_code == 200
    assert _allowed(client)
    for name, seconds in ((COOKIE, 900), (TERMINAL, 400 * 86400)):
        (line,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{name}=")]
        for wanted in ("HttpOnly", "SameSite=strict", "Secure", "Path=/", f"Max-Age={seconds}"):
            assert wanted in line


def test_who_is_there_keeps_the_session_and_who_is_not_loses_it(client: TestClient, clock: Clock, here: Line) -> None:
    first = _in(client).cookies[COOKIE]
    for _ in range(3):  # beyond the life of the first cookie
        clock.now += IDLE - SECOND
        assert COOKIE not in client.post("/session/beat", json={"active": False}).cookies
        assert client.post("/session/beat", json={"active": True}).cookies[COOKIE] != first
    assert clock.now > NOW + COOKIE_LIFE and _allowed(client)
    clock.now += IDLE
    assert not _allowed(client)
    gone = client.post("/session/beat", json={"active": True})
    assert gone.status_code == 401
    assert COOKIE not in client.cookies
    with reading(here.engine) as conn:
        assert audit.recent(conn, 1)[0].detail == {"why": "idle"}


def test_the_cookie_of_another_role_is_renewed_before_it_counts(client: TestClient, here: Line) -> None:
    _in(client)
    users.change_role(here.engine, here.admin, "operator", "viewer", key="r", now=NOW)
    assert not _allowed(client)
    client.post("/session/beat", json={"active": True})
    assert _allowed(client)


def test_a_copy_of_the_cookie_ends_with_its_session(client: TestClient) -> None:
    copies = [dict(_in(client).cookies), dict(_in(client).cookies)]
    assert [context.allowed(one) for one in copies] == [False, True]  # who signs in anew is no longer in twice
    client.post("/session/end", json={})
    assert [context.allowed(one) for one in copies] == [False, False]


def test_a_ticket_becomes_a_session_soon_or_never(client: TestClient, clock: Clock, seal: Seal, here: Line) -> None:
    client.cookies.set("_streamlit_user", "what the provider said")
    ticket = seal.ticket(here.engineer, NOW)
    for wrong in ("", ticket + "x", seal.cookie(here.engineer, "s", NOW)):
        assert client.post("/session/ticket", json={"ticket": wrong}).status_code == 401
    answer = client.post("/session/ticket", json={"ticket": ticket})
    assert answer.status_code == 200 and _allowed(client)
    assert any(
        one.startswith('_streamlit_user=""') and "Max-Age=0" in one for one in answer.headers.get_list("set-cookie")
    )
    clock.now += TICKET_LIFE
    assert client.post("/session/ticket", json={"ticket": ticket}).status_code == 401


def test_one_gives_oneself_a_pin_by_ones_password(client: TestClient, here: Line) -> None:
    def ask(password: str, pin: str) -> int:
        return client.post("/session/own_pin", json={"password": password, "pin": pin}).status_code

    assert ask(WORDS, "2580") == 401
    _in(client)
    assert (ask("no", "2580"), ask(WORDS, "1234"), ask(WORDS, "2580")) == (401, 400, 200)
    client.post("/session/end", json={})
    assert client.post("/session/pin", json={"name": "operator", "pin": "2580"}).status_code == 200
    with reading(here.engine) as conn:
        assert "user.set_pin" in [one.action for one in audit.recent(conn, 5)]


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 413), (b"{" + b" " * 5000, 413), (b"no json", 400), (b"[1]", 400), (b"{}", 401)]
)
def test_what_no_page_of_ours_sends_is_refused(client: TestClient, content: bytes, status: int) -> None:
    for name in ("password", "pin", "ticket", "beat", "own_pin"):
        assert client.post(f"/session/{name}", content=content).status_code == status
    assert client.get("/session/password").status_code == 405
