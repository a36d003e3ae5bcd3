"""`goodpart drift`."""

from __future__ import annotations

from math import exp

from cyclopts import App

from agent.cli.common import Common, show
from agent.store import drift, products, stations
from agent.store.drift import Reference, Standing
from agent.store.engine import reading
from model.statistics import look_delta

app = App(
    name="drift",
    help="Whether scores still look like those a product was certified on. Example: goodpart drift list",
)
COLUMNS = ["product", "station", "state", "evidence", "alarm_at", "parts", "stream", "since", "alarmed_at"]
LARGEST = 709.0  # of whose exponential is a number


@app.command(name="list")
def list_(*, product: str | None = None, json: bool = False, common: Common = Common()) -> None:
    """List the drift watches: the evidence for a change, and at which it alarms. Example: goodpart drift list

    States: watching; alarmed: the next stream begins some hours later; ended: another model decides, whose first parts
    are still to come; waiting: an epoch cut its calibration off, and the next model is not certified yet.

    Args:
        product: only this product.
        json: print a JSON list.
    """
    alpha = common.settings().drift.alpha
    with reading(common.database()) as conn:
        only = products.named(conn, product).id if product else None
        made = {one.id: one.name for one in products.all(conn, retired=True)}
        places = {one.id: one.name for one in stations.all(conn, retired=True)}
        references, found = drift.references(conn), drift.all(conn, only)
    rows = [
        (
            made[one.product_id], places[one.station_id], _state(one, references.get(one.product_id)),
            exp(min(one.log_wealth, LARGEST)), 1 / look_delta(alpha, one.stream), one.n, one.stream, one.began_at,
            one.alarmed_at,
        )
        for one in found
    ]  # fmt: skip
    show(COLUMNS, rows, as_json=json, empty="nothing yet: no certified model has inspected a part")


def _state(one: Standing, reference: Reference | None) -> str:
    if reference is None:
        return "waiting"
    if not one.of(reference):
        return "ended"
    return "alarmed" if one.alarm and one.alarm["stream"] == one.stream else "watching"
