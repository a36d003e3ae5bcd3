"""The shell of every page: Streamlit's own, in the server's language, told where its server is to connect at once.

Left to itself it looks for it by asking for its health under the page's own address and under the one above, and opens
its socket only then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import file_util

_HEAD, _ENGLISH = "<head>", '<html lang="en">'


def routes(paths: Iterable[str], origins: Sequence[str], language: str) -> list[Route]:
    """Routes of the shell.

    Args:
        paths: the addresses of pages, each with its slash.
        origins: what browsers call us; pages of others may not talk to ours.
        language: the code of the pages' words, such as `pt_BR`; "" is English.
    """
    html = _told(Path(file_util.get_static_dir(), "index.html").read_text(encoding="utf-8"), origins, language)

    async def front(_: Request) -> HTMLResponse:
        return HTMLResponse(html, headers={"Cache-Control": "no-cache"})

    return [Route(path, front) for path in paths]


def _told(html: str, origins: Sequence[str], language: str) -> str:
    """With what Streamlit looks for in `window.__streamlit` (1.67: BACKEND_BASE_URL and HOST_CONFIG).

    By the language of the page screen readers pronounce it, and browsers offer to translate it.
    """
    config = json.dumps({"allowedOrigins": list(origins), "useExternalAuthToken": False}).replace("<", "\\u003c")
    told = f"<script>window.__streamlit = {{BACKEND_BASE_URL: location.origin, HOST_CONFIG: {config}}}</script>"
    code = language.replace("_", "-") or "en"
    return html.replace(_ENGLISH, f'<html lang="{code}">', 1).replace(_HEAD, _HEAD + told, 1)
