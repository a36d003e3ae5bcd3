"""Which training run is due: a person's request, enough new samples, or the cron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.retrain import freezing, roles, taught
from agent.retrain.errors import TooFewImages
from agent.settings import Settings
from agent.store import commands, next_looks, products, runs, samples, teachings
from agent.store.next_looks import NextLook
from agent.store.products import Product
from agent.store.runs import TrainingRun

COMMAND = "retrain"
MOST_DOUBLINGS = 6


@dataclass(frozen=True, slots=True)
class Due:
    """A run that should start; `cold`: from fresh weights, because a person asks for it."""

    product_id: int
    trigger: str
    requested_by: int | None = None
    command_id: int | None = None
    cold: bool = False


def due(conn: Connection, settings: Settings, now: datetime, cron_at: datetime | None) -> Due | None:
    """The next run that should start, or None. Requests go before samples, samples before the cron.

    A request is taken: its command is running from then on. So this needs a transaction that writes, and a caller who
    opens the run in it.

    Args:
        conn: the database.
        settings: retrain, certificate.
        now: the time.
        cron_at: when the cron last fired; None: never.
    """
    request = commands.next(conn, [COMMAND])
    if request:
        if products.get(conn, int(request.args["product_id"])).retired_at is not None:
            commands.fail(conn, request.id, Phrase("the product was retired"), now)
            return None
        trigger, cold = request.args.get("trigger", "person"), bool(request.args.get("cold"))
        if trigger == teachings.TRIGGER and not taught.ready(conn, settings, request, now):
            return None
        return Due(int(request.args["product_id"]), trigger, request.by, request.id, cold)
    for product in products.all(conn):
        trigger = _trigger(conn, settings, product, now, cron_at)
        if trigger:
            return Due(product.id, trigger)
    return None


def _trigger(
    conn: Connection, settings: Settings, product: Product, now: datetime, cron_at: datetime | None
) -> str | None:
    history = runs.all(conn, product.id)
    if now < rests_until(history, timedelta(seconds=settings.retrain.cooldown_s), now):
        return None
    look = next_looks.of_product(conn, product, settings.certificate)
    if look is None or not look.enough:
        # Each version spends a look at the epoch: none is spent before it can certify the rate. A person may ask.
        return None
    judged = runs.judged(conn, product.id)
    since, beyond = (judged.started_at, judged.snapshot_id) if judged else (None, None)
    new = samples.count_new(conn, product.id, since, epoch_id=look.epoch.id, beyond=beyond)
    if not new or not _can_train(conn, settings, product, look):
        return None
    # Another agent's cron may have fired for the same minute, and its run may be over.
    cron = cron_at is not None and (not history or history[0].created_at < cron_at)
    if new < settings.retrain.new_samples and not cron:
        return None
    if judged and freezing.freeze(conn, settings, product, now)[0].id == judged.snapshot_id:
        return None  # the caps leave no place for what is new: the verdict would be the same
    return "samples" if new >= settings.retrain.new_samples else "cron"


def rests_until(history: Sequence[TrainingRun], cooldown: timedelta, now: datetime) -> datetime:
    """The end of the pause after a product's last run, which doubles with every failure in a row.

    Args:
        history: the product's runs, newest first.
        cooldown: the pause after a run that did not fail.
        now: the time; the pause of a run that has no end yet starts here.
    """
    if not history:
        return now
    failures = next((i for i, run in enumerate(history) if run.state != "failed"), len(history))
    pause: timedelta = cooldown * 2 ** min(failures, MOST_DOUBLINGS)
    return (history[0].finished_at or now) + pause


def _can_train(conn: Connection, settings: Settings, product: Product, look: NextLook) -> bool:
    train = samples.counts(conn, product.id, look.epoch.id)["train"]
    try:
        roles.check_enough(train, look.n, roles.needs(look.review_rate, look.confidence, look.look))
    except TooFewImages:
        return False
    return True
