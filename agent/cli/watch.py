"""`goodpart watch`."""

from __future__ import annotations

from cyclopts import App

from agent.cli.common import Acting, Common, find_product, new_key, show
from agent.service import watches as service
from agent.settings import utc_now
from agent.store import watches
from agent.store.engine import reading

app = App(name="watch", help="A second model beside what decides. Example: goodpart watch list --product flange")
NUMBERS = ("parts", "new_only", "old_only", "both", "reviewed", "defects", "e_false_alarms", "e_misses")
COLUMNS = ["watch", "kind", "state", "decides", "beside", "share", "opened_at", "closed_at", *NUMBERS, "words"]


@app.command(name="list")
def list_(*, product: str, json: bool = False, common: Common = Common()) -> None:
    """List a product's shadows and watches, newest first. Example: goodpart watch list --product flange

    Of a watch the new model decides and the one before scores beside it; of a shadow it is the reverse. Numbers are of
    parts: flagged by the new model only, by the old one only, by both, and reviewed and confirmed as defects of these.
    A promotion is taken back once one of the two E reaches 20; it is kept after watch.parts and watch.defects, and the
    words say what it still waits for.
    """
    with reading(common.database()) as conn:
        found = watches.all(conn, find_product(conn, product).id)
    rows = [
        [one.id, one.kind, one.state, f"v{one.number}", f"v{one.other_number}", one.share, one.opened_at, one.closed_at]
        + [(one.numbers or {}).get(name) for name in NUMBERS]
        + [one.told]
        for one in found
    ]
    show(COLUMNS, rows, as_json=json, empty="none yet")


@app.command
def end(watch: int, /, *, reason: str, acting: Acting = Acting()) -> None:
    """End a shadow or a watch; what decides goes on alone. Example: goodpart watch end 3 --reason lamps"""
    engine = acting.database()
    done = service.end(engine, acting.actor(engine), watch, reason, key=new_key(), now=utc_now())
    print(f"{done.product}: {done.title} is over; running agents hear of it within a second")
