"""Routes of our own by which a page signs in and out, and says that somebody is there. They alone set the cookies.

Passwords come here and nowhere else: not over Streamlit's socket, nor into a widget's state.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from agent.service import Invalid
from agent.service import sessions as service
from agent.service import users as people
from agent.service.ranks import Refused, may
from agent.service.sessions import NotSignedIn
from agent.settings import utc_now
from agent.store import users
from agent.store.engine import reading
from agent.store.errors import StoreError
from agent.store.sessions import Session
from agent.store.users import User
from dashboard import context
from dashboard.seals import COOKIE_LIFE, mark
from dashboard.words import later, retold, say

LARGEST = 4096
AT_ONCE = 4
LONGEST_QUEUE = 16  # about a second
NOT_OURS = later("that is not a request of our page")
TERMINAL_LIFE = timedelta(days=400)  # as long as browsers keep one
TERMINAL = re.compile(r"[0-9a-f]{32}")
PROVIDERS = "_streamlit_user"  # how Streamlit's cookies of the provider's answer begin
Body = Mapping[str, Any]
Act = Callable[[Request, Body, datetime], Response]


def routes() -> list[BaseRoute]:
    """`POST /session/...`: `password`, `pin` and `ticket` open a session, `beat` keeps it, `end` ends it.

    `known` says whether somebody is signed in, and changes nothing; `own_pin` and `own_password` give who is signed in
    another one, where they prove once more who they are.
    """
    slow, quick = CapacityLimiter(AT_ONCE), CapacityLimiter(AT_ONCE)  # none takes threads that pictures wait for
    acts: dict[str, tuple[Act, CapacityLimiter]] = {
        "password": (_password, slow), "pin": (_pin, slow),
        "own_pin": (_own_pin, slow), "own_password": (_own_password, slow),
        "ticket": (_ticket, quick), "known": (_known, quick), "beat": (_beat, quick), "end": (_end, quick),
    }  # fmt: skip
    return [Route(f"/session/{name}", _route(*one), methods=["POST"]) for name, one in acts.items()]


def _route(act: Act, limiter: CapacityLimiter) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        content = await _content(request)
        if not content:
            return _words(413, say(NOT_OURS))
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            return _words(400, say(NOT_OURS))
        if not isinstance(body, dict):
            return _words(400, say(NOT_OURS))
        if limiter.statistics().tasks_waiting >= LONGEST_QUEUE:
            return _words(503, say("too many sign in at once: try again"))
        try:
            return await to_thread.run_sync(act, request, body, utc_now(), limiter=limiter)
        except Invalid as error:
            return _words(400, retold(error.phrase))
        except NotSignedIn as error:
            return _words(401, retold(error.phrase))
        except Refused as error:
            return _words(403, retold(error.phrase))
        except StoreError as error:
            return _words(503, retold(error.phrase))

    return answer


async def _content(request: Request) -> bytes:
    """What was sent; nothing where it is too much, whatever its headers said."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST:
            return b""
    return content


def _words(status: int, words: str) -> Response:
    return JSONResponse({"words": words}, status, headers={"Cache-Control": "no-store"})


def _text(body: Body, key: str) -> str:
    """Raises Invalid for what neither a database nor a hash takes: a half of a character, or NUL."""
    text = body.get(key, "")
    if not isinstance(text, str) or "\0" in text or any("\ud800" <= one <= "\udfff" for one in text):
        raise Invalid(say(NOT_OURS))
    return text


def _password(request: Request, body: Body, now: datetime) -> Response:
    name, password = _text(body, "name").strip(), _text(body, "password")
    terminal = _terminal(request)
    made = service.by_password(context.database(), context.tries(), name, password, terminal=terminal, now=now)
    return _opened(request, made, now)


def _pin(request: Request, body: Body, now: datetime) -> Response:
    name, pin = _text(body, "name"), _text(body, "pin")
    return _opened(request, service.by_pin(context.database(), name, pin, terminal=_terminal(request), now=now), now)


def _ticket(request: Request, body: Body, now: datetime) -> Response:
    sealed = context.seal().read("ticket", _text(body, "ticket"), now)
    if sealed is None:
        raise NotSignedIn(say("that took too long: sign in again"))
    made = service.by_provider(context.database(), sealed.user, terminal=_terminal(request), now=now)
    return _opened(request, made, now)


def _opened(request: Request, made: Session, now: datetime) -> Response:
    service.end_idle(context.database(), context.idle(), now)
    _leave(request, "switched", now)
    answer = _words(200, say("signed in"))
    life = int(TERMINAL_LIFE.total_seconds())
    _set(answer, "terminal", made.terminal, life)
    with reading(context.database()) as conn:
        _give(answer, users.get(conn, made.user_id), made.id, now)
    _forget_provider(request, answer)
    return answer


def _known(request: Request, _: Body, now: datetime) -> Response:
    if context.entered(request.cookies, now)[1] is None:
        raise NotSignedIn(say("nobody is signed in"))
    return _words(200, say("signed in"))


def _beat(request: Request, body: Body, now: datetime) -> Response:
    """Whether the session goes on; with `active`, somebody touched a page since the last time.

    A viewer's goes on for as long as a page of theirs is open.
    """
    sealed, user = context.entered(request.cookies, now)
    if sealed is not None and body.get("page") != mark(sealed.session):
        return _words(409, say("somebody else is signed in now: load the page again"))
    if sealed is None or user is None:
        _leave(request, "idle", now)
        return _gone(request, _words(401, say("nobody is signed in any more")))
    answer = _words(200, say("signed in"))
    if body.get("active") is True or not may(user, "operator"):  # a board on a wall, where nobody can do anything
        service.seen(context.database(), sealed.session, now)
        _give(answer, user, sealed.session, now)
    return answer


def _own_pin(request: Request, body: Body, now: datetime) -> Response:
    user = _proven(request, body, now)
    people.set_pin(context.database(), user, user.name, _text(body, "pin"), key=f"page-{uuid4()}", now=now)
    return _words(200, say("the PIN is set"))


def _own_password(request: Request, body: Body, now: datetime) -> Response:
    user = _proven(request, body, now)
    people.set_password(context.database(), user, user.name, _text(body, "new"), key=f"page-{uuid4()}", now=now)
    return _gone(request, _words(200, say("the password is set: sign in with it")))


def _proven(request: Request, body: Body, now: datetime) -> User:
    """Who is signed in and knows the password; raises NotSignedIn."""
    _, user = context.entered(request.cookies, now)
    if user is None:
        raise NotSignedIn(say("nobody is signed in any more"))
    service.prove(context.database(), context.tries(), user.name, _text(body, "password"), now)
    return user


def _end(request: Request, _: Body, now: datetime) -> Response:
    _leave(request, "signed out", now)
    return _gone(request, _words(200, say("signed out")))


def _leave(request: Request, why: str, now: datetime) -> None:
    if sealed := context.sealed(request.cookies, now):
        service.end(context.database(), sealed.session, why, now)


def _terminal(request: Request) -> str:
    known = request.cookies.get(context.cookie("terminal"), "")
    return known if TERMINAL.fullmatch(known) else secrets.token_hex(16)


def _give(answer: Response, user: User, session_id: str, now: datetime) -> None:
    _set(answer, "session", context.seal().cookie(user, session_id, now), int(COOKIE_LIFE.total_seconds()))


def _set(answer: Response, kind: context.Kind, value: str, seconds: int) -> None:
    name = context.cookie(kind)
    answer.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict", secure=context.secure())


def _gone(request: Request, answer: Response) -> Response:
    _set(answer, "session", "", 0)
    _forget_provider(request, answer)
    return answer


def _forget_provider(request: Request, answer: Response) -> None:
    """Streamlit's cookie would sign in for 30 days whoever sits there next."""
    for name in request.cookies:
        if name.startswith(PROVIDERS):
            answer.delete_cookie(name)
