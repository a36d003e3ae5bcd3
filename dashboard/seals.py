"""What the dashboard signs, by HMAC-SHA256: the session's cookie, and the ticket that becomes one. Both can be read."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from agent.store.users import User

COOKIE_LIFE = timedelta(minutes=15)
TICKET_LIFE = timedelta(seconds=30)
Kind = Literal["cookie", "ticket"]


@dataclass(frozen=True, slots=True)
class Sealed:
    """Who it is for: a user, their role when it was made, and their session (of a ticket: none yet)."""

    user: int
    role: str
    session: str = ""


def mark(session_id: str) -> str:
    """What a page knows its session by: the session itself is for the cookie alone, which no script reads."""
    return hashlib.sha256(session_id.encode()).hexdigest()


class Seal:
    """Signs and checks with a key that comes from the installation's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def cookie(self, user: User, session_id: str, now: datetime) -> str:
        """The cookie of a session, for COOKIE_LIFE."""
        return self._sign("cookie", Sealed(user.id, user.role, session_id), now + COOKIE_LIFE)

    def ticket(self, user: User, now: datetime) -> str:
        """What the page of somebody whom the provider has named gets a cookie for, within TICKET_LIFE."""
        return self._sign("ticket", Sealed(user.id, user.role), now + TICKET_LIFE)

    def read(self, kind: Kind, text: str | None, now: datetime) -> Sealed | None:
        """What was signed; None: nothing, by somebody else, as something else, or too long ago."""
        body, _, mark = (text or "").partition(".")
        if not hmac.compare_digest(self._mark(kind, body), mark.encode()):
            return None
        try:
            values = json.loads(urlsafe_b64decode(body + "=="))
        except (Error, ValueError):
            return None
        until = values.pop("until")
        return Sealed(**values) if now.timestamp() < until else None

    def _sign(self, kind: Kind, what: Sealed, until: datetime) -> str:
        values = json.dumps({**asdict(what), "until": int(until.timestamp())})
        body = urlsafe_b64encode(values.encode()).decode().rstrip("=")  # a cookie with it would need quotes
        return f"{body}.{self._mark(kind, body).decode()}"

    def _mark(self, kind: Kind, body: str) -> bytes:
        return hmac.new(self._secret, f"dashboard {kind} {body}".encode(), hashlib.sha256).hexdigest().encode()
