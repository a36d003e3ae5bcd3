"""Looks through the parts that a product is taught from; the child process `python -m agent.retrain.look`.

An agent starts it with the lease taken and the command running (`agent.retrain.looks`). It works at low priority on
half of the cores. Its exit status is 0 where every part's oddness is on record.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Engine

from agent.retrain import child
from agent.retrain.errors import RetrainError, reason
from agent.retrain.holding import Holding
from agent.retrain.looks import LEASE
from agent.retrain.scoring import training_settings
from agent.settings import Settings, utc_now
from agent.store import commands, products, teachings
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore, open_blobs
from agent.store.engine import reading, writing
from agent.store.errors import StoreError
from agent.store.teachings import View
from model import images
from model.oddness import oddness

FAILED = 4

log = structlog.get_logger()


def execute(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    command_id: int,
    holding: Holding,
    *,
    clock: Callable[[], datetime],
    threads: int = 0,
) -> None:
    """Does a running `look` command: each item's oddness and the command's end in one transaction.

    Args:
        engine: the database.
        blobs: holds the parts' images.
        settings: training, scoring; the product's own teacher and input go before them.
        command_id: the command.
        holding: the lease `look`.
        clock: the time.
        threads: CPU threads; 0 = all cores.

    Raises:
        RetrainError: it was told to stop, and the next agent does it; or an image cannot be read.
        model errors, StoreError: it failed, as is on record.
    """
    with reading(engine) as conn:
        product = products.get(conn, int(commands.get(conn, command_id).args["product_id"]))
        views = teachings.views(conn, product.id)
    try:
        wanted = training_settings(settings, teacher=product.teacher, own=product.input, threads=threads)
        loads = [(lambda one=view: _load(blobs, settings, one)) for view in views]
        found = oddness(loads, [view.part for view in views], wanted, lambda _: holding.check()) if views else []
    except Exception as error:
        holding.check()  # raises where it was told to stop: that is no failure
        _fail(engine, holding, command_id, reason(error), clock())
        raise
    with writing(engine) as conn:
        holding.confirm(conn)
        teachings.record(conn, {view.item_id: value for view, value in zip(views, found, strict=True)})
        commands.finish(conn, command_id, result={"images": len(views)}, now=clock())
    log.info("teaching_looked_through", product=product.name, images=len(views))


def _load(blobs: BlobStore, settings: Settings, view: View) -> images.Frame:
    try:
        return images.decode(blobs.get(view.frame_sha256), max_megapixels=settings.pipeline.max_megapixels)
    except (images.ImageError, BlobMissing, BlobCorrupt) as error:
        raise RetrainError(
            "the image of part {part} (item {item_id}) cannot be read: {problem}",
            part=view.part, item_id=view.item_id, problem=str(error),
        ) from error  # fmt: skip


def _fail(engine: Engine, holding: Holding, command_id: int, problem: str, now: datetime) -> None:
    try:
        with writing(engine) as conn:
            holding.confirm(conn)
            commands.fail(conn, command_id, problem, now)
    except StoreError as error:
        log.warning("look_not_closed", command=command_id, problem=str(error))


def main(arguments: Sequence[str]) -> int:
    """Does the command; returns the exit status."""
    parser = child.parser(child.LOOK, "Does one `look` command.")
    parser.add_argument("--command", type=int, required=True, help="id of the command")
    given = parser.parse_args(arguments)
    settings, engine = child.begin(given.parent)
    with Holding(engine, child.lease_of(given, LEASE), utc_now, parent=given.parent) as holding:
        try:
            execute(
                engine, open_blobs(settings.blobs), settings, given.command, holding,
                clock=utc_now, threads=child.threads(),
            )  # fmt: skip
        except Exception as error:
            log.error("look_failed", command=given.command, problem=str(error) or repr(error))
            return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
