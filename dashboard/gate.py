"""What stands before everything that the dashboard answers: our name, our pages' requests, and somebody signed in.

Streamlit checks the origin of its web socket alone, and no session anywhere. So all is refused here that is not listed
as open: the page's shell, its scripts, and the socket, over which who is not signed in gets the sign-in and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from agent.store.errors import StoreError
from dashboard.words import later, retold, say

HEALTH = "/_stcore/health"
OPEN = {"/", "/favicon.png", "/manifest.json", HEALTH, "/_stcore/host-config", "/_stcore/stream"}
PROVIDER = {"/auth/login", "/oauth2callback"}
OPEN_BELOW = ("/static/", "/_stcore/bidi-components/", "/session/")
POLICY_VIOLATION = 1008
SAFE = {"GET", "HEAD"}
ELSEWHERE = later("asked by another site's page")


class Gate:
    """ASGI middleware.

    Args:
        app: what is behind it.
        origins: what browsers call us, such as `https://goodpart.plant.example`; the first one is told to others.
        pages: the addresses of views: all of them are the same shell.
        signed_in: whether these cookies are somebody's who may be here; raises StoreError.
    """

    def __init__(
        self, app: ASGIApp, *, origins: Sequence[str], pages: Collection[str],
        signed_in: Callable[[Mapping[str, str]], bool],
    ) -> None:  # fmt: skip
        self._app, self._us, self._origins, self._signed_in = app, origins[0], set(origins), signed_in
        self._hosts = {urlsplit(one).netloc for one in origins}
        self._open = OPEN | PROVIDER | {f"/{one}" for one in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (refused := await self._refuse(HTTPConnection(scope))):
            status, words = refused
            if scope["type"] == "websocket":
                await WebSocketClose(POLICY_VIOLATION, words)(scope, receive, send)
            else:
                await PlainTextResponse(words, status)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _refuse(self, asked: HTTPConnection) -> tuple[int, str] | None:
        """A status and its words; None: let it pass."""
        path, headers = asked.scope["path"], asked.headers
        if path == HEALTH:
            return None  # for whoever watches over the process
        if headers.get("host", "").lower() not in self._hosts:
            return 403, say("not a name of this dashboard, which is at {url}: see dashboard.url", url=self._us)
        origin = headers.get("origin")
        changes = asked.scope["type"] == "websocket" or asked.scope["method"] not in SAFE
        if (origin is None and changes) or (origin is not None and origin.lower() not in self._origins):
            return 403, say(ELSEWHERE)
        if path in self._open or path.startswith(OPEN_BELOW):
            return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, say(ELSEWHERE)
        try:
            known = await run_in_threadpool(self._signed_in, asked.cookies)
        except StoreError as error:
            return 503, retold(error.phrase)
        return None if known else (401, say("sign in first"))
