"""`goodpart retrain`."""

from __future__ import annotations

import json as json_module

from cyclopts import App

from agent.cli.common import Acting, CommandError, new_key
from agent.cli.progress import bars
from agent.service import retrain as service
from agent.settings import utc_now
from agent.store import products
from agent.store.blobs import open_blobs
from agent.store.engine import reading

app = App(name="retrain", help="Train a challenger now, and let the gate decide.")


@app.default
def retrain(*, product: str, cold: bool = False, json: bool = False, acting: Acting = Acting()) -> None:
    """Train a challenger for a product now; the gate promotes it, rejects it, or asks for a person.

    It works at low priority on half of the cores, as an agent's training does: a live line keeps its speed, and each
    goes on from the checkpoint of the other. A running agent swaps to a promoted model between two batches. A run on
    the same samples that a crash left is taken up again. Example: goodpart retrain --product flange

    Args:
        product: which product.
        cold: start from fresh weights, whatever retrain.warm says, so that nothing of a revoked sample stays.
        json: print one JSON object.
    """
    from agent.live import open_live
    from agent.retrain import child, now

    settings = acting.settings()
    engine = acting.database()
    actor = acting.actor(engine)
    with reading(engine) as conn:
        found = products.find(conn, product)
    if found is None:
        raise CommandError(f"there is no product {product!r}; see: goodpart products list")
    child.give_way(settings)
    with bars() as on_progress:
        result = now.retrain(
            engine, open_blobs(settings.blobs), settings, found.id,
            actor=actor, cold=cold, live=open_live(settings.redis.url), clock=utc_now, on_progress=on_progress,
        )  # fmt: skip
    print(json_module.dumps(result.to_dict(), indent=2) if json else result.describe())


@app.command
def cancel(run: int, /, *, reason: str, acting: Acting = Acting()) -> None:
    """End a training run, wherever it runs. Example: goodpart retrain cancel 7 --reason mistake"""
    engine = acting.database()
    service.cancel(engine, acting.actor(engine), run, reason=reason, key=new_key(), now=utc_now())
    print(f"run {run} is cancelled; its process ends at its next step")
