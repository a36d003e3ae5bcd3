"""The parts that a product was taught from become samples, in an epoch of their own, for its first model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from agent.phrases import Phrase, word
from agent.retrain import roles
from agent.retrain.errors import TooFewImages
from agent.settings import Settings
from agent.store import audit, commands, epochs, products, samples, teachings
from agent.store.commands import Command
from agent.store.install import install_of
from agent.store.samples import NewSample
from agent.store.teachings import Teaching, View

ADVICE = "collect more parts: goodpart products teach with a higher --parts"

log = structlog.get_logger()


def ready(conn: Connection, settings: Settings, request: Command, now: datetime) -> bool:
    """Makes the samples that a person asks to train on; False where that cannot be, and the request has ended.

    Args:
        conn: a writing transaction, in which the caller opens the run.
        settings: certificate.
        request: a running command of the trigger `teach`.
        now: the time.
    """
    product_id = int(request.args["product_id"])
    audit.take_turn(conn)  # before the teaching is locked, as an act of a person does
    found = teachings.lock(conn, product_id)
    problem: str | None = None
    if found.state != "training":
        problem = Phrase("the teaching is {state}", state=word(found.state))
    else:
        try:
            _make_samples(conn, settings, found, request.by, now)
        except TooFewImages as error:
            problem = error.phrase
            teachings.move(conn, product_id, "looking", now, expected=("training",))
    if problem:
        commands.fail(conn, request.id, problem, now)
        log.warning("teaching_not_trained", product_id=product_id, problem=problem)
    return problem is None


def _make_samples(conn: Connection, settings: Settings, found: Teaching, by: int, now: datetime) -> None:
    product_id = found.product_id
    views = teachings.views(conn, product_id)
    if not views:
        return  # a run before this one has failed; the samples are there
    known = samples.all(conn, product_id, state=None)
    placed = [one for one in known if one.role != "defect" and one.state != "refused"]
    grouped, seen = _new(conn, product_id, views)
    first = {one.serial: one.role for one in placed if one.serial} | seen
    # Nothing is held from before: its set belongs to the epoch of these parts alone.
    assigned = roles.assign(install_of(conn).secret, list(grouped), {}, first)
    counts = Counter(assigned.values())
    product = products.get(conn, product_id)
    rate = product.review_rate or settings.certificate.review_rate
    trained = sum((one.role, one.state) == ("train", "accepted") for one in known)
    wanted = roles.needs(rate, settings.certificate.confidence)
    roles.check_enough(counts["train"] + trained, counts["calibration"], wanted, advice=ADVICE)
    words = Phrase("{n} parts of the stream that the product was taught from", n=len(grouped))
    epoch_id = epochs.open(conn, product_id, "teach", words, by=by, now=now).id
    for part, frames in grouped.items():
        for view in frames:
            samples.add(conn, _sample(found, assigned[part], view, by, epoch_id), now)
    teachings.close(conn, product_id, "normal", now)
    log.info("teaching_sampled", product_id=product_id, epoch=epoch_id, **counts)


def _new(conn: Connection, product_id: int, views: Sequence[View]) -> tuple[dict[str, list[View]], dict[str, str]]:
    """The views of each part whose pictures are no samples yet, and the roles of parts of which one is.

    A part is left out where one of its pictures is in the defect bank.
    """
    new, seen = list[View](), dict[str, str]()
    for view in views:
        known = samples.find(conn, product_id, _pixels(view), view.frame_sha256)
        if known is None:
            new.append(view)
        elif known.revoked_at is not None:
            new.append(replace(view, pixels_sha256=known.pixels_sha256))
        elif known.state != "refused" and seen.get(view.part) != "defect":
            seen[view.part] = known.role
    left = {part for part, role in seen.items() if role == "defect"}
    return teachings.by_part([view for view in new if view.part not in left]), seen


def _pixels(view: View) -> str:
    return view.pixels_sha256 or view.frame_sha256  # identical bytes are identical pixels


def _sample(found: Teaching, role: str, view: View, by: int, epoch_id: int) -> NewSample:
    return NewSample(
        product_id=found.product_id,
        role=role,
        origin="import",  # chosen by people before there was a model, as imported images are
        blob_sha256=view.frame_sha256,
        pixels_sha256=_pixels(view),
        item_id=view.item_id,
        serial=view.serial,
        station_id=found.station_id,
        lot=view.lot,
        added_by=by,
        epoch_id=epoch_id if role in ("calibration", "holdout") else None,
    )
