"""`goodpart products teach`."""

from __future__ import annotations

import json as json_module
from typing import Any

from sqlalchemy import Engine

from agent.cli.common import Acting, CommandError, new_key, show
from agent.service import reviews
from agent.service import teach as service
from agent.settings import Settings, utc_now
from agent.store import items, products, teachings
from agent.store import lesson as lessons
from agent.store.engine import reading
from agent.store.lesson import Lesson
from agent.store.products import Product
from agent.store.users import User


def teach(
    name: str,
    *,
    station: str | None = None,
    parts: int | None = None,
    defect: int | None = None,
    reason: str | None = None,
    undo: int | None = None,
    look: bool = False,
    train: bool = False,
    cancel: bool = False,
    json: bool = False,
    acting: Acting = Acting(),
) -> None:
    """Teach a product from a station's parts. Example: goodpart products teach flange --station press-1 --parts 250

    An agent keeps the first parts, sorts them by how odd they are, and trains when told to. Meanwhile all the product's
    frames go to review, uncertified. Without options it says how far that is and lists the parts, the oddest first.

    Args:
        name: the product; a new one is added.
        station: whose parts; the station runs the product from now on.
        parts: how many, by serial, else by frame.
        defect: item to take out, with --reason; its whole part leaves.
        reason: of the defect, such as scratch.
        undo: item to bring back that was taken out as a defect.
        look: sort the parts again, where that failed.
        train: make samples of the parts that are left, and train; then: goodpart models promote.
        cancel: end it without a model.
        json: print one JSON object.
    """
    wanted = [station is not None or parts is not None, defect is not None, undo is not None, look, train, cancel]
    if sum(wanted) > 1:
        raise CommandError("one thing at a time: --station and --parts, --defect, --undo, --look, --train or --cancel")
    engine, settings = acting.database(), acting.settings()
    if not any(wanted):
        _tell(engine, _product(engine, name), as_json=json)
        return
    actor = acting.actor(engine)
    given: dict[str, Any] = {"key": new_key(), "now": utc_now()}
    if wanted[0]:
        print(_start(engine, settings, actor, name, station, parts, given))
        return
    product = _product(engine, name)
    if defect is not None:
        done = reviews.decide(engine, actor, _item(engine, product, defect), "defect", reason, **given)
        print(f"item {defect} left: {done.unused or f'now {done.role} sample {done.sample_id}'}")
    elif undo is not None:
        reviews.undo(engine, actor, _item(engine, product, undo), **given)
        print(f"item {undo} is back")
    elif look:
        service.look(engine, actor, product.id, **given)
        print("an agent sorts the parts again")
    elif train:
        service.train(engine, actor, product.id, **given)
        print(f"an agent trains {name}; see: goodpart products teach {name}")
    else:
        freed = service.cancel(engine, actor, product.id, **given)
        print(f"cancelled; {freed} images are let go")


def _start(
    engine: Engine,
    settings: Settings,
    actor: User,
    name: str,
    station: str | None,
    parts: int | None,
    given: dict[str, Any],
) -> str:
    from agent.retrain import roles

    if station is None or parts is None:
        raise CommandError("give both: --station S --parts N")
    with reading(engine) as conn:
        known = products.find(conn, name)
    certificate = settings.certificate
    rate = known.review_rate if known and known.review_rate else certificate.review_rate
    shares = roles.shares(parts)
    calibration, holdout = round(parts * shares.calibration), round(parts * shares.holdout)
    needs = roles.needs(rate, certificate.confidence)
    warning = roles.check_enough(parts - calibration - holdout, calibration, needs, advice="give a higher --parts")
    service.start(engine, actor, name, station=station, parts=parts, **given)
    begun = f"{name} is taught from the next {parts} parts of {station}; see: goodpart products teach {name}"
    return f"{begun}\nwarning: {warning}" if warning else begun


def _tell(engine: Engine, product: Product, *, as_json: bool) -> None:
    with reading(engine) as conn:
        lesson = lessons.find(conn, product.id)
        top = lessons.top_calibration(conn, lesson.version.id) if lesson and lesson.version else []
    if lesson is None:
        raise CommandError(f"{product.name} is not being taught; begin: --station S --parts N")
    if as_json:
        print(json_module.dumps(_plain(product, lesson), default=str, indent=2))
        return
    print(f"{product.name}: {lesson.words}")
    rows = [(one.item_id, one.part, one.oddness, one.event_at) for one in lesson.views]
    if rows:
        show(["item", "part", "oddness", "event_at"], rows, as_json=False)
    if top:
        highest = [(one.sample_id, one.serial, one.frames, one.score) for one in top]
        show(["sample", "part", "frames", "score"], highest, as_json=False)
    if lesson.version:
        seen = f"goodpart models calibration {lesson.version.number} --product {product.name} --out DIR"
        print(f"their pictures with heatmaps: {seen}")
        print(f"go live: goodpart models promote {lesson.version.number} --product {product.name} --reason WHY")


def _plain(product: Product, lesson: Lesson) -> dict[str, Any]:
    return {
        "product": product.name,
        "state": lesson.teaching.state,
        "parts": lesson.teaching.parts,
        "collected": lesson.collected,
        "words": lesson.words,
        "problem": lesson.problem,
        "run": lesson.run.id if lesson.run else None,
        "version": lesson.version.number if lesson.version else None,
        "items": [
            {"item": one.item_id, "part": one.part, "oddness": one.oddness, "event_at": one.event_at}
            for one in lesson.views
        ],
    }


def _product(engine: Engine, name: str) -> Product:
    with reading(engine) as conn:
        return products.named(conn, name)


def _item(engine: Engine, product: Product, item_id: int) -> int:
    with reading(engine) as conn:
        item = items.get(conn, item_id)
    if (item.kind, item.product_id) != (teachings.KIND, product.id):
        raise CommandError(f"item {item_id} is not one of those {product.name} is taught from")
    return item_id
