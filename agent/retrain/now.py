"""Training a product in this process because a person asks for it: on as many threads as an agent's child would."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Engine

from agent.live import Live
from agent.retrain import child
from agent.retrain.progress import OnProgress
from agent.retrain.result import RunResult
from agent.retrain.run import train_product
from agent.service.acts import current
from agent.settings import Settings
from agent.store.blobs import BlobStore
from agent.store.engine import reading
from agent.store.users import User


def retrain(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    product_id: int,
    *,
    actor: User,
    cold: bool = False,
    live: Live,
    clock: Callable[[], datetime],
    on_progress: OnProgress | None = None,
) -> RunResult:
    """As `run.train_product`, for an engineer; running agents are told of a promotion.

    Raises:
        PermissionDenied: the actor is no engineer; else as `train_product`.
    """
    with reading(engine) as conn:
        current(conn, actor, "engineer", "retrain")
    result = train_product(
        engine, blobs, settings, product_id,
        trigger="person", requested_by=actor.id, cold=cold, clock=clock, on_progress=on_progress,
        threads=child.threads(),
    )  # fmt: skip
    if result.promoted:
        live.notify_promotion(product_id)
    return result
