"""Which training run is due: a person's request, enough new samples, or the cron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.retrain import freezing, roles, taught
from agent.retrain.errors import TooFewImages
from agent.settings import Retrain, Settings
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
    rules, history = settings.retrain, runs.all(conn, product.id)
    rested = rests_until(history, timedelta(seconds=rules.cooldown_s), now)
    look = next_looks.of_product(conn, product, settings.certificate) if now >= rested else None
    if look is None or not look.enough:
        # Each version spends a look at the epoch: none is spent before it can certify the rate. A person may ask.
        return None
    judged = runs.judged(conn, product.id)
    # One that was cancelled before it began has seen all that was there by then.
    since, beyond = (judged.started_at or judged.finished_at, judged.snapshot_id) if judged else (None, None)
    new = samples.came(conn, product.id, since, epoch_id=look.epoch.id, beyond=beyond)
    if not new or not _can_train(conn, settings, product, look):
        return None
    settles = settles_at(new, rested if history else new[0], rules)
    settled = settles is not None and now >= settles
    # Another agent's cron may have fired for the same minute, and its run may be over.
    cron = cron_at is not None and (not history or history[0].created_at < cron_at)
    if not settled and not cron:
        return None
    if judged and freezing.freeze(conn, settings, product, now)[0].id == judged.snapshot_id:
        return None  # the caps leave no place for what is new: the verdict would be the same
    return "samples" if settled else "cron"


def settles_at(new: Sequence[datetime], rested: datetime, rules: Retrain) -> datetime | None:
    """From when so many new samples start a run: nobody is at it any more. A pure function; None: they are too few.

    That is `settle_s` after the last of them. Who goes on without such a pause puts a run off by `settle_most_s` at
    most: since there are enough, the pause after the last run is over, and they began.

    Args:
        new: when they were accepted, in order.
        rested: the end of the pause after the last run.
        rules: new_samples, settle_s, settle_most_s.
    """
    if len(new) < rules.new_samples:
        return None
    pause, began = timedelta(seconds=rules.settle_s), new[-1]
    for one in reversed(new):
        if began - one > pause:
            break
        began = one
    could = max(new[rules.new_samples - 1], rested, began)
    return min(new[-1] + pause, could + timedelta(seconds=rules.settle_most_s))


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
