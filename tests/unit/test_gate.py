"""What stands before the dashboard: names, origins, sessions; the cookie's signature; who may reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
import structlog
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from structlog.testing import capture_logs

from agent.settings import Oidc, Settings, SettingsError, load
from agent.store.errors import StoreError
from agent.store.users import User
from dashboard import identities
from dashboard.gate import Gate
from dashboard.pages import VIEWS, views
from dashboard.seals import COOKIE_LIFE, TICKET_LIFE, Seal, Sealed
from dashboard.serve import DashboardError, check_reach
from tests.databases import NOW

US = "https://goodpart.example"
KIM = User(3, "kim", "operator")
SECOND = timedelta(seconds=1)


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


@pytest.fixture
def client() -> Iterator[TestClient]:
    known: dict[str, bool | Exception] = {"good": True, "bad": False, "away": StoreError("the database is away")}

    def signed_in(cookies: Mapping[str, str]) -> bool:
        found = known.get(cookies.get("c", ""), False)
        if isinstance(found, Exception):
            raise found
        return found

    routes = [
        Route("/{path:path}", lambda _: PlainTextResponse("content"), methods=["GET", "POST", "PUT"]),
        WebSocketRoute("/_stcore/stream", _socket),
    ]
    app = Gate(Starlette(routes=routes), origins=[US], pages=["", "audit"], signed_in=signed_in)
    with TestClient(app, base_url=US) as made:
        yield made


def _answer(client: TestClient, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    found = client.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return found.status_code, found.text


CLOSED = ["/blob/x", "/heatmap/x", "/media/x", "/_stcore/metrics", "/_stcore/upload_file/a/b", "/new", "/audit/blob/x"]


def test_whatever_is_not_listed_as_open_needs_a_session(client: TestClient) -> None:
    for path in ("/", "/audit", "/static/js/x.js", "/_stcore/host-config", "/_stcore/health", "/oauth2callback?x=1"):
        assert _answer(client, path) == (200, "content")
    for path in CLOSED:
        for cookie in ("", "c=bad", "c=unknown"):
            assert _answer(client, path, cookie=cookie) == (401, "sign in first")
        assert _answer(client, path, cookie="c=good") == (200, "content")
        assert _answer(client, path, cookie="c=away") == (503, "the database is away")


def test_another_name_is_not_answered_even_to_who_is_signed_in(client: TestClient) -> None:
    for path in ("/", "/audit", "/session/password", *CLOSED):
        for host in ("goodpart.example:8501", "evil.example", "goodpart.example.evil.example", ""):
            status, words = _answer(client, path, cookie="c=good", host=host)
            assert status == 403 and US in words
    assert _answer(client, "/", host="GOODPART.example") == (200, "content")
    assert _answer(client, "/_stcore/health", host="10.0.0.1")[0] == 200


def test_another_sites_page_is_not_answered(client: TestClient) -> None:
    for origin in ("http://goodpart.example", "https://evil.example", "null"):
        assert _answer(client, "/", origin=origin)[0] == 403
        assert _answer(client, "/blob/x", cookie="c=good", origin=origin)[0] == 403
    for site in ("cross-site", "same-site"):
        assert _answer(client, "/blob/x", cookie="c=good", sec_fetch_site=site)[0] == 403
        assert _answer(client, "/audit", sec_fetch_site=site)[0] == 200  # a link in a mail
    for method in ("POST", "PUT"):
        assert _answer(client, "/session/end", method)[0] == 403
        assert _answer(client, "/session/end", method, origin=US)[0] == 200


def test_the_socket_opens_for_our_own_pages_only(client: TestClient) -> None:
    with client.websocket_connect("wss://goodpart.example/_stcore/stream", headers={"origin": US}) as socket:
        assert socket.receive_text() == "hello"
    for given in ({}, {"origin": "https://evil.example"}, {"origin": US, "host": "evil.example"}):
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("wss://goodpart.example/_stcore/stream", headers=given),
        ):
            pass


def test_a_cookie_holds_for_its_life_and_for_nothing_else() -> None:
    seal = Seal(b"s" * 32)
    cookie, ticket = seal.cookie(KIM, "abc", NOW), seal.ticket(KIM, NOW)
    assert seal.read("cookie", cookie, NOW + COOKIE_LIFE - SECOND) == Sealed(3, "operator", "abc")
    assert seal.read("cookie", cookie, NOW + COOKIE_LIFE) is None
    assert seal.read("ticket", ticket, NOW + TICKET_LIFE - SECOND) == Sealed(3, "operator")
    assert seal.read("ticket", ticket, NOW + TICKET_LIFE) is None
    assert seal.read("cookie", ticket, NOW) is seal.read("ticket", cookie, NOW) is None
    assert Seal(b"t" * 32).read("cookie", cookie, NOW) is None
    for at in range(len(cookie)):
        assert seal.read("cookie", cookie[:at] + ("A" if cookie[at] != "A" else "B") + cookie[at + 1 :], NOW) is None
    for text in (None, "", ".", "é.é", cookie.partition(".")[0]):
        assert seal.read("cookie", text, NOW) is None


def test_each_role_has_its_views() -> None:
    names = {role: {one.title for one in views(User(1, role, role))} for role in ("viewer", "operator", "engineer")}
    assert names["operator"] - names["viewer"] == {"Teach", "Models", "Samples"}
    assert names["engineer"] - names["operator"] == {"Audit"}
    assert names["engineer"] == {one.title for one in VIEWS}
    assert {one.title for one in views(None)} == names["viewer"]
    assert views(User(1, "kim", "admin", disabled_at=NOW)) == []


def _settings(**dashboard: str) -> Settings:
    return load(None, {f"GOODPART_DASHBOARD__{name.upper()}": value for name, value in dashboard.items()})


def test_without_accounts_it_is_this_machines_alone() -> None:
    for given in ({}, {"host": "localhost"}, {"host": "::1"}, {"url": "http://localhost:9000"}):
        check_reach(_settings(**given), guarded=False)
    for given in ({"host": "0.0.0.0"}, {"host": "10.0.0.7", "url": US}, {"url": US}):
        with pytest.raises(DashboardError, match="goodpart users password NAME"):
            check_reach(_settings(**given), guarded=False)
    with pytest.raises(DashboardError, match=r"set dashboard\.url"):
        check_reach(_settings(host="0.0.0.0"), guarded=True)
    for given in ({}, {"url": US}, {"host": "0.0.0.0", "url": US}):
        check_reach(_settings(**given), guarded=True)


@pytest.mark.parametrize(
    "given",
    [{"url": "http://goodpart.example"}, {"url": "https://u:p@x"}, {"url": "https://x/path"}, {"url": "goodpart"},
     {"url": "https://x:no"}, {"host": "goodpart"}, {"idle_minutes": "15"}, {"idle_minutes": "0"}],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"dashboard.{next(iter(given))}"):
        _settings(**given)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "kim@x", "iat": NOW.timestamp() - 5}, None),
        ({"email": "kim@x", "iat": NOW.timestamp() - 5, "email_verified": "true"}, "kim@x"),
        ({"email": "kim@x", "iat": NOW.timestamp() - 5, "email_verified": "false"}, None),
        ({"email": "kim\0", "iat": NOW.timestamp() - 5, "email_verified": True}, None),
        ({"email": "kim\ud800", "iat": NOW.timestamp() - 5, "email_verified": True}, None),
        ({"email": "kim@x", "iat": NOW.timestamp() - 5, "email_verified": True}, "kim@x"),
        ({"email": "kim@x", "iat": NOW.timestamp() - 5, "email_verified": False}, None),
        ({"email": "kim@x", "iat": NOW.timestamp() - 600, "email_verified": True}, None),
        ({"email": "kim@x", "email_verified": True}, None),
        ({"email": ["kim@x"], "iat": NOW.timestamp(), "email_verified": True}, None),
        ({"sub": "kim@x", "iat": NOW.timestamp()}, None),
    ],
)
def test_what_a_provider_says_counts_right_after_it_says_so(
    claims: dict[str, Any], name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "log", structlog.get_logger())  # one that no test before has bound
    with capture_logs() as logged:
        assert identities.named(claims, Oidc(), NOW) == name
    assert [one["log_level"] for one in logged] == ([] if name else ["warning"])


def test_a_provider_that_never_says_what_it_verified_is_believed_where_it_is_set_so() -> None:
    said = {"email": "kim@x", "sub": "7", "iat": NOW.timestamp()}
    assert identities.named(said, Oidc(verified=False), NOW) == "kim@x"
    assert identities.named(said, Oidc(claim="sub"), NOW) == "7"


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ({}, ("http://127.0.0.1:8501", "http://localhost:8501", "http://[::1]:8501")),
        ({"port": "80"}, ("http://127.0.0.1", "http://localhost", "http://[::1]")),
        ({"host": "0:0:0:0:0:0:0:1"}, ("http://[::1]:8501", "http://127.0.0.1:8501", "http://localhost:8501")),
        ({"host": "127.0.0.2"},
         ("http://127.0.0.2:8501", "http://127.0.0.1:8501", "http://localhost:8501", "http://[::1]:8501")),
        ({"host": "0.0.0.0", "url": "https://X:443/"}, ("https://x",)),
        ({"url": "http://localhost:80"}, ("http://localhost",)),
        ({"url": "http://localhost:443"}, ("http://localhost:443",)),
    ],
)  # fmt: skip
def test_the_dashboard_is_called_what_browsers_call_it(given: dict[str, str], origins: tuple[str, ...]) -> None:
    assert _settings(**given).dashboard.origins == origins
