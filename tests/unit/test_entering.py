"""The routes by which a page signs in and out: which cookies they set, when, and what they refuse."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from agent.service import PermissionDenied, sessions, users
from agent.service.sessions import NotSignedIn
from agent.service.tries import Tries
from agent.settings import Settings, load
from agent.store import audit
from agent.store.engine import reading
from agent.store.install import install_of
from dashboard import context, entering
from dashboard.seals import COOKIE_LIFE, TICKET_LIFE, Seal, mark
from tests.databases import NOW, Line

T = TypeVar("T")
US = "https://goodpart.example"
COOKIE, TERMINAL = "__Host-goodpart_session", "__Host-goodpart_terminal"
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
def client(
    here: Line, clock: Clock, seal: Seal, quick_hashes: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    settings: Settings = load(None, {"GOODPART_DASHBOARD__URL": US})
    tries = Tries()
    for name, value in (("database", here.engine), ("settings", settings), ("seal", seal), ("tries", tries)):
        monkeypatch.setattr(context, name, lambda value=value: value)
    users.set_password(here.engine, here.admin, "operator", WORDS, key="w", now=NOW)
    with TestClient(Starlette(routes=entering.routes()), base_url=US) as made:
        yield made


def _in(client: TestClient) -> Any:
    return client.post("/session/password", json={"name": "operator", "password": WORDS})


def _beat(client: TestClient, *, active: bool = True, page: str | None = None) -> Any:
    """What a page says that was drawn for the cookie's session, or for the given one."""
    found = context.sealed(dict(client.cookies), NOW)
    shown = page or mark(found.session if found else "")
    return client.post("/session/beat", json={"active": active, "page": shown})


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


@pytest.mark.usefixtures("spoken")
def test_who_is_not_let_in_reads_why_in_the_language_of_the_plant(client: TestClient) -> None:
    wrong = client.post("/session/password", json={"name": "operator", "password": "no"})
    assert wrong.json() == {"words": "⟦this name and password do not go together⟧"}
    assert client.post("/session/known", json={"x": 1}).json() == {"words": "⟦nobody is signed in⟧"}


def test_who_is_there_keeps_the_session_and_who_is_not_loses_it(client: TestClient, clock: Clock, here: Line) -> None:
    first = _in(client).cookies[COOKIE]
    for _ in range(3):  # beyond the life of the first cookie
        clock.now += IDLE - SECOND
        assert COOKIE not in _beat(client, active=False).cookies
        assert _beat(client).cookies[COOKIE] != first
    assert clock.now > NOW + COOKIE_LIFE and _allowed(client)
    clock.now += IDLE
    assert not _allowed(client)
    gone = _beat(client)
    assert gone.status_code == 401
    assert COOKIE not in client.cookies
    (line,) = gone.headers.get_list("set-cookie")  # which browsers take no other way for such a name
    assert line.startswith(COOKIE) and "Secure" in line and "Path=/" in line and "Max-Age=0" in line
    with reading(here.engine) as conn:
        assert audit.recent(conn, 1)[0].detail == {"why": "idle"}


def test_a_viewers_page_stays_though_nobody_touches_it_until_it_is_closed(
    client: TestClient, clock: Clock, here: Line
) -> None:
    _in(client)
    users.change_role(here.engine, here.admin, "operator", "viewer", key="r", now=NOW)
    for _ in range(3):
        clock.now += IDLE - SECOND
        assert _beat(client, active=False).status_code == 200 and _allowed(client)
    assert clock.now > NOW + COOKIE_LIFE
    clock.now += IDLE
    assert _beat(client, active=False).status_code == 401


def test_the_cookie_of_another_role_is_renewed_before_it_counts(client: TestClient, here: Line) -> None:
    _in(client)
    users.change_role(here.engine, here.admin, "operator", "viewer", key="r", now=NOW)
    assert not _allowed(client)
    _beat(client)
    assert _allowed(client)


def test_a_page_of_who_was_there_before_is_loaded_again_and_ends_nothing(client: TestClient) -> None:
    assert client.post("/session/known", json={"x": 1}).status_code == 401
    _in(client)
    before = context.sealed(dict(client.cookies), NOW)
    assert before is not None
    _in(client)
    for page in (mark(before.session), "x"):
        assert _beat(client, page=page).status_code == 409
    assert client.post("/session/beat", json={"active": True}).status_code == 409
    assert client.post("/session/known", json={"x": 1}).status_code == 200
    assert _beat(client).status_code == 200 and _allowed(client)


def test_a_closed_browsers_session_ends_as_the_next_person_signs_in(
    client: TestClient, clock: Clock, here: Line
) -> None:
    _in(client)
    client.cookies.clear()
    clock.now += IDLE
    _in(client)
    with reading(here.engine) as conn:
        assert audit.recent(conn, 1)[0].detail == {"why": "idle"}
    assert _allowed(client)


def test_cookies_of_two_dashboards_on_a_host_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, name in (
        ("http://localhost:9000", "goodpart_session_9000"),
        (f"{US}:8443", f"{COOKIE}_8443"),
        (US, COOKIE),
    ):
        monkeypatch.setattr(context, "settings", lambda url=url: load(None, {"GOODPART_DASHBOARD__URL": url}))
        assert context.cookie("session") == name


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


def test_one_gives_oneself_another_password_and_is_signed_out_everywhere(client: TestClient, here: Line) -> None:
    def ask(password: str, new: str) -> int:
        return client.post("/session/own_password", json={"password": password, "new": new}).status_code

    assert ask(WORDS, "another horse") == 401
    _in(client)
    elsewhere = dict(client.cookies)
    session = sessions.by_password(here.engine, Tries(), "operator", WORDS, terminal="t2", now=NOW)
    assert (ask("no", "another horse"), ask(WORDS, "short"), ask(WORDS, "another horse")) == (401, 400, 200)
    assert COOKIE not in client.cookies and not context.allowed(elsewhere)
    with reading(here.engine) as conn:
        assert sessions.who(conn, session.id, IDLE, NOW) is None
        assert "user.set_password" in [one.action for one in audit.recent(conn, 5)]
    assert _in(client).status_code == 401
    assert client.post("/session/password", json={"name": "operator", "password": "another horse"}).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 413), (b"{" + b" " * 5000, 413), (b"no json", 400), (b"[1]", 400), (b"{}", 401), (b"[" * 4000, 400),
    ],
)  # fmt: skip
def test_what_no_page_of_ours_sends_is_refused(client: TestClient, content: bytes, status: int) -> None:
    for name in ("password", "pin", "ticket", "beat", "own_pin", "own_password"):
        assert client.post(f"/session/{name}", content=content).status_code == status
    assert client.get("/session/password").status_code == 405


@pytest.mark.parametrize("odd", [r"\ud800", r"\u0000"])
def test_text_that_is_none_is_refused(client: TestClient, odd: str) -> None:
    _in(client)
    for route, key in (("password", "name"), ("password", "password"), ("pin", "name"), ("pin", "pin"),
                       ("ticket", "ticket"), ("own_pin", "password"), ("own_password", "password")):  # fmt: skip
        assert client.post(f"/session/{route}", content=f'{{"{key}": "x{odd}"}}').status_code == 400
    assert client.post("/session/password", json={"name": ["x"]}).status_code == 400


def test_a_refusal_of_the_service_is_an_answer(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionDenied("not you")

    _in(client)
    monkeypatch.setattr(users, "set_pin", refuse)
    assert client.post("/session/own_pin", json={"password": WORDS, "pin": "2580"}).status_code == 403


async def _post(path: str, parts: list[bytes], **headers: str) -> tuple[int, int]:
    """The status, and how many parts were taken in, of a request that is sent in parts."""
    left, told = list(parts), []

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        told.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "server": ("goodpart.example", 443),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await Starlette(routes=entering.routes())(scope, receive, send)
    return told[0]["status"], len(parts) - len(left)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: a browser of another test may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def test_no_more_is_taken_in_than_a_page_sends_whatever_its_headers_say(client: TestClient) -> None:
    for headers in ({"content_length": "2"}, {"transfer_encoding": "chunked"}):
        assert _run(_post("/session/password", [b"x" * 1000] * 100, **headers)) == (413, 5)


def test_a_flood_of_tries_waits_for_itself_alone(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun = threading.Event(), []

    def slow(*_: object, **__: object) -> None:
        begun.append(1)
        go.wait(60)
        raise NotSignedIn("no")

    monkeypatch.setattr(sessions, "by_password", slow)

    async def flood() -> list[int]:
        app = Starlette(routes=entering.routes())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=US) as browser:
            most = entering.AT_ONCE + entering.LONGEST_QUEUE
            waiting = [asyncio.create_task(browser.post("/session/password", json={})) for _ in range(most)]
            while len(begun) < entering.AT_ONCE:
                await asyncio.sleep(0.01)
            for _ in range(100):  # until all others stand in the queue
                await asyncio.sleep(0)
            told = [(await browser.post(f"/session/{name}", json={"x": 1})).status_code for name in ("pin", "known")]
            go.set()
            return told + [(await one).status_code for one in waiting]

    assert _run(flood()) == [503, 401] + [401] * (entering.AT_ONCE + entering.LONGEST_QUEUE)
