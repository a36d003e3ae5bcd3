"""What a run trains on, and from which weights; frozen at its first attempt, the same at every further one."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import Connection

from agent.retrain import caps
from agent.retrain.caps import Held
from agent.settings import Settings
from agent.store import ancestry, epochs, registry, snapshots
from agent.store.products import Product
from agent.store.runs import TrainingRun
from agent.store.snapshots import Snapshot

log = structlog.get_logger()


def freeze(conn: Connection, settings: Settings, product: Product, now: datetime) -> tuple[Snapshot, Held]:
    """The snapshot that a new run of the product takes now, calibrated by the epoch that speaks for its stream.

    The same samples give the same one. What the caps hold back is not in it.

    Raises:
        Conflict: the product has no samples.
    """
    epoch = epochs.calibrating(conn, product.id, epochs.asked(product, settings.certificate))
    held = caps.of_run(conn, settings, product.id)
    snapshot = snapshots.freeze(conn, product.id, now, epoch_id=epoch.id if epoch else None, without=held.ids)
    return snapshot, held


def choose_parent(conn: Connection, settings: Settings, run: TrainingRun) -> int | None:
    """The version whose weights a run starts from; None for fresh ones, because that is asked for or must be.

    The champion's weights, unless something that it or one of its parents learned from is revoked: only a cold start
    is clean of that.
    """
    if not settings.retrain.warm or run.settings.get("cold", False):
        return None
    champion = registry.live(conn, run.product_id)
    if champion is None:
        return None
    spoiled = ancestry.spoiled(conn, champion.model_version_id)
    if spoiled:
        log.info("cold_start", run=run.id, version=champion.number, revoked=spoiled)
        return None
    return champion.model_version_id
