"""`goodpart epochs`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import Literal

from cyclopts import App

from agent.cli.common import Acting, Common, new_key, show
from agent.service import epochs as service
from agent.settings import utc_now
from agent.store import epochs, lapses, next_looks, products
from agent.store.engine import reading
from agent.store.epochs import Held

app = App(
    name="epochs",
    help="Spans of the stream that a product is calibrated for. Example: goodpart epochs list flange",
)
COLUMNS = ["id", "cause", "opened_at", "closed_at", "calibration", "look", "needed", "holdout", "calibrates", "why"]


@app.command(name="list")
def list_(product: str, /, *, json: bool = False, common: Common = Common()) -> None:
    """List a product's epochs, which one's parts calibrate, and how many its next certificate needs.

    Example: goodpart epochs list flange

    Args:
        product: which product.
        json: print a JSON list.
    """
    settings = common.settings()
    with reading(common.database()) as conn:
        found = products.named(conn, product)
        held = epochs.held(conn, found.id)
        chosen = next_looks.of_product(conn, found, settings.certificate)
        lapse = lapses.of_product(conn, found, settings.certificate)
        rows = [
            (
                one.id, one.cause, one.opened_at, one.closed_at, has.calibration, look.look, look.needed, has.holdout,
                "yes" if chosen and one.id == chosen.epoch.id else "no", one.words,
            )
            for one in epochs.of_product(conn, found.id)
            for has in [held.get(one.id, Held())]
            for look in [next_looks.of_epoch(conn, one, has.calibration, found, settings.certificate)]
        ]  # fmt: skip
    show(COLUMNS, rows, as_json=json, empty="no epochs yet: import or teach the product first")
    if lapse and not json:
        print(f"lapsed: {lapse.words}")
    if chosen and chosen.waits and not json:
        print(chosen.waits)


@app.command(name="open")
def open_(
    product: str, /, *, cause: Literal["camera", "person"], reason: str, json: bool = False, acting: Acting = Acting()
) -> None:
    """Say that the stream has changed. Example: goodpart epochs open flange --cause camera --reason "new lamp"

    What calibrated before no longer speaks for the stream: the certificate reads lapsed, and audit.burst_rate of the
    parts are drawn for review, until they give a new one.

    Args:
        product: which product.
        cause: camera: another camera, lens, lamp or place; person: anything else.
        reason: what changed, for the record.
        json: print one JSON object.
    """
    engine = acting.database()
    made = service.open(engine, acting.actor(engine), product, cause, reason, key=new_key(), now=utc_now())
    if json:
        print(json_module.dumps(asdict(made), default=str, indent=2))
        return
    settings = acting.settings()
    with reading(engine) as conn:
        lapse = lapses.of_product(conn, products.get(conn, made.product_id), settings.certificate)
    print(f"opened epoch {made.id} of {product}; {settings.audit.burst_rate:.0%} of its parts are drawn for review")
    if lapse:
        print(f"lapsed: {lapse.words}")
