"""Routes of our own: evidence pictures by their hash (st.image would keep each in memory), and an item's neighbours."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from agent.store.blobs import BlobMissing, media_type
from agent.store.engine import reading
from agent.store.errors import NotFound, StoreError
from dashboard import context, normals
from dashboard.words import retold, say

SHA256 = re.compile(r"[0-9a-f]{64}")
SHOWN = {"image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff"}
SMALL = 320  # pixels of the longer side
HEADERS = {
    "Cache-Control": "private, no-cache",  # whoever sits there next has to pass the gate first, hence asks again
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}


def routes() -> list[BaseRoute]:
    """`/blob/SHA256` as it is stored, `/small/SHA256` as a tile shows it, `/heatmap/SHA256` as a grey PNG of a map,
    `/normals/ITEM`, `/now/STATION` as the live view shows it.
    """
    return [
        Route("/blob/{sha256}", blob),
        Route("/small/{sha256}", small),
        Route("/heatmap/{sha256}", heatmap),
        Route("/normals/{item:int}", nearest_normals),
        Route("/now/{station:int}", now),
    ]


async def blob(request: Request) -> Response:
    """An image blob; anything else is refused."""
    return await _asked(request, _blob)


async def small(request: Request) -> Response:
    """An image blob, shrunk: a board of forty pictures in full would not fit into a browser's memory."""
    return await _asked(request, _small)


async def heatmap(request: Request) -> Response:
    """A stored anomaly map, 0 .. 255 over its own range: it compares places, not parts."""
    return await _asked(request, _heatmap)


async def nearest_normals(request: Request) -> Response:
    """The accepted normals that are nearest to an item, as JSON; the same words of an audited item and of any other."""
    return await run_in_threadpool(_normals, request.path_params["item"])


async def now(request: Request) -> Response:
    """The newest picture of a station in the live view; the address that the board asks changes with each."""
    found = await run_in_threadpool(context.live().picture, context.place(request.path_params["station"]))
    if found is None:
        return PlainTextResponse(say("no such picture"), 404)
    return Response(found, media_type="image/webp", headers=HEADERS)


async def _asked(request: Request, draw: Callable[[str], Response]) -> Response:
    """The picture, or that the browser's own copy does: a hash never names other bytes."""
    sha256 = request.path_params["sha256"]
    tag = f'"{sha256}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={**HEADERS, "ETag": tag})
    found = await run_in_threadpool(draw, sha256)
    if found.status_code == 200:
        found.headers["ETag"] = tag
    return found


def _blob(sha256: str) -> Response:
    if not SHA256.fullmatch(sha256):
        return PlainTextResponse(say("not a SHA-256"), 404)
    try:
        with reading(context.database()) as conn:
            kind = media_type(conn, sha256)
        if kind not in SHOWN:
            return PlainTextResponse(say("no such picture"), 404)
        return Response(context.blobs().get(sha256), media_type=kind, headers=HEADERS)
    except BlobMissing:
        return PlainTextResponse(say("the picture is gone"), 404)
    except StoreError as error:
        return PlainTextResponse(retold(error.phrase), 503)


def _small(sha256: str) -> Response:
    found = _blob(sha256)
    if found.status_code != 200:
        return found
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(bytes(found.body)), formats=["WEBP"]) as picture:  # as the agent drew it
            picture.thumbnail((SMALL, SMALL))
            picture.convert("RGB").save(out, "WEBP", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return PlainTextResponse(say("the picture cannot be read"), 404)
    return Response(out.getvalue(), media_type="image/webp", headers=HEADERS)


def _heatmap(sha256: str) -> Response:
    if not SHA256.fullmatch(sha256):
        return PlainTextResponse(say("not a SHA-256"), 404)
    try:
        values = np.load(io.BytesIO(context.blobs().get(sha256)), allow_pickle=False).astype(np.float64)
    except BlobMissing:
        return PlainTextResponse(say("the map is gone"), 404)
    except StoreError as error:
        return PlainTextResponse(retold(error.phrase), 503)
    except ValueError as error:
        return PlainTextResponse(str(error), 503)
    if values.ndim != 2 or values.size == 0:
        return PlainTextResponse(say("not a map"), 404)
    grey = (values - values.min()) / max(float(np.ptp(values)), 1e-12) * 255
    out = io.BytesIO()
    Image.fromarray(grey.round().astype(np.uint8)).save(out, "PNG")
    return Response(out.getvalue(), media_type="image/png", headers=HEADERS)


def _normals(item_id: int) -> Response:
    if item_id >= 1 << 63:
        return PlainTextResponse(say("no such item"), 404)
    try:
        found = normals.of_item(context.database(), item_id)
    except NotFound as error:
        return PlainTextResponse(retold(error.phrase), 404)
    except StoreError as error:
        return PlainTextResponse(retold(error.phrase), 503)
    told = [
        {"part": one.part, "time": one.seen_at.isoformat(), "small": f"/blob/{one.small}", "full": f"/blob/{one.full}"}
        for one in found
    ]
    return JSONResponse({"normals": told}, headers={**HEADERS, "Cache-Control": "no-store"})
