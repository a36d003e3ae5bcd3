"""One message to the webhook: a POST of JSON, without redirects, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from agent.settings import is_loopback

TIMEOUT_S = 10.0  # of connecting, and of each answer's wait
AGAIN = (408, 429)  # answers of 4xx after which the same message may still be taken


class NotTaken(Exception):
    """The message did not arrive, or may not have; the words never hold the URL. `final`: trying again is no use."""

    def __init__(self, words: str, *, final: bool) -> None:
        super().__init__(words)
        self.final = final


class Post:
    """Sends to one URL.

    Args:
        url: of the setting alerts.webhook; only its host is ever shown.
        timeout_s: how long the other side may be silent.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._url, self._timeout_s = url, timeout_s
        self._opener = _opener(direct=is_loopback(parts.hostname or ""))

    def __call__(self, message_id: str, body: Mapping[str, Any]) -> None:
        """Sends; returns where it was taken (2xx).

        Raises:
            NotTaken: it was not.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": message_id, "User-Agent": "goodpart"}
        request = Request(self._url, json.dumps(body).encode(), headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except HTTPError as error:
            error.close()
            final = 400 <= error.code < 500 and error.code not in AGAIN
            raise NotTaken(f"{self.host} answers {error.code}", final=final) from None
        except (OSError, HTTPException) as error:
            # An HTTPException's own text may repeat the path.
            why = getattr(error, "reason", error) if isinstance(error, OSError) else type(error).__name__
            raise NotTaken(f"{self.host} does not answer ({why})", final=False) from None


class _NoRedirect(HTTPRedirectHandler):
    """A message goes where the setting says, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(*, direct: bool) -> OpenerDirector:
    # Proxies as the environment says, but never for this host.
    return build_opener(_NoRedirect, *([ProxyHandler({})] if direct else []))
