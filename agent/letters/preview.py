"""What was kept of a dead letter as a picture, through the decoder that every frame goes through, with its limits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

import model.images as images
from agent.frame import BadHeader, RawFormat, raw_format
from agent.pipeline import pictures
from agent.pipeline.decode import pixels
from agent.settings import Pipeline
from agent.store import blobs, dead_letters
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.dead_letters import DeadLetter
from agent.store.engine import writing


class NotShowable(Exception):
    """A dead letter that gives no picture; the message says why."""


def show(engine: Engine, store: BlobStore, letter: DeadLetter, limits: Pipeline, now: datetime) -> None:
    """Makes its preview and names it.

    Args:
        engine: the database.
        store: has the kept bytes.
        letter: the dead letter.
        limits: the section [pipeline] limits what is decoded.
        now: the time.

    Raises:
        NotShowable: its bytes are gone, or no picture.
        Unreachable: the database or the store does not answer.
    """
    preview = pictures.preview_of(_decoded(store, letter, limits))
    sha256 = blobs.keep(engine, store, preview, "image/webp", now)
    with writing(engine) as conn:
        if not dead_letters.keep_preview(conn, letter.id, sha256):
            raise NotShowable("its bytes were let go")


def _decoded(store: BlobStore, letter: DeadLetter, limits: Pipeline) -> images.Frame:
    if letter.blob_sha256 is None:
        raise NotShowable("its bytes were let go")
    try:
        data = store.get(letter.blob_sha256)
    except (BlobMissing, BlobCorrupt) as error:
        raise NotShowable(f"its bytes cannot be had ({error})") from None
    if len(data) > limits.max_frame_mb << 20:
        raise NotShowable(f"{len(data)} bytes; pipeline.max_frame_mb is {limits.max_frame_mb}")
    try:
        return pixels(data, _raw(letter), limits)
    except (images.ImageError, BadHeader) as error:
        raise NotShowable(str(error)) from None


def _raw(letter: DeadLetter) -> RawFormat | None:
    """How its pixels lie, as its headers say, whatever else is wrong with these."""
    return raw_format({name.lower(): text for name, text in letter.headers})
