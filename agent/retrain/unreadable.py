"""Parts that leave since their image cannot be read: an agent looks, since the dashboard decodes none."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.service import withdrawals as service
from agent.service.ranks import Refused
from agent.service.withdrawals import TAKE_OUT, Readable
from agent.settings import Settings
from agent.store import commands, samples, users, withdrawals
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.commands import Command
from agent.store.engine import reading, writing
from agent.store.errors import Conflict, NotFound
from agent.store.samples import Sample
from model import images

log = structlog.get_logger()


def eye(store: BlobStore, settings: Settings) -> Readable:
    """Tells whether a sample's image is there and a picture, by the decoder that every frame goes through."""

    def readable(sample: Sample) -> bool:
        try:
            images.decode(store.get(sample.blob_sha256), max_megapixels=settings.pipeline.max_megapixels)
        except (images.ImageError, BlobMissing, BlobCorrupt):
            return False
        return True

    return readable


def do_next(engine: Engine, readable: Readable, now: datetime) -> None:
    """Does the oldest `TAKE_OUT` command, if there is one; any number of agents may, at once and again.

    Raises:
        StoreError: the database or the blob store is away; the command waits.
    """
    with writing(engine) as conn:
        commands.restart(conn, [TAKE_OUT])  # those of dead agents: what they did is not done twice
        request = commands.next(conn, [TAKE_OUT])
    if request is None:
        return
    problem = _do(engine, request, readable, now)
    try:
        with writing(engine) as conn:
            if problem is None:
                commands.finish(conn, request.id, now=now)
            else:
                commands.fail(conn, request.id, problem, now)
    except Conflict:  # another agent did the same meanwhile
        return
    log.info("unreadable_taken_out", command=request.id, problem=problem)


def _do(engine: Engine, request: Command, readable: Readable, now: datetime) -> str | None:
    """Why it cannot be done; None: it is."""
    withdrawal_id = int(request.args["withdrawal_id"])
    try:
        with reading(engine) as conn:
            actor = users.get(conn, request.by)
            sample = samples.get(conn, withdrawals.get(conn, withdrawal_id).sample_id)
        found = readable(sample)  # before the transaction: a store may be slow
        key = f"command-{request.id}"
        service.confirm(engine, actor, withdrawal_id, readable=lambda _: found, key=key, now=now)
    except (Refused, Conflict, NotFound) as error:
        return error.phrase
    return None
