"""Opening an epoch. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.service.acts import Done, perform
from agent.service.ranks import Invalid
from agent.store import epochs, products
from agent.store.engine import reading
from agent.store.epochs import Epoch
from agent.store.errors import Conflict
from agent.store.users import User

CAUSES = ("camera", "person")
LONGEST = 500  # characters of a reason


def open(engine: Engine, actor: User, product: str, cause: str, reason: str, *, key: str, now: datetime) -> Epoch:
    """Opens an epoch: calibration sets before it no longer speak for the product's stream.

    Its certificate reads `lapsed`, and parts are drawn at `audit.burst_rate` at least, until audited parts since now
    give another one.

    Args:
        engine: the database.
        actor: an engineer or higher.
        product: its name.
        cause: camera (another camera, lens, lamp or place) or person (anything else).
        reason: what changed, in words.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: another cause, or no reason.
        NotFound: there is no such product.
        Conflict: it has no calibration set that could be cut off.
    """
    reason = reason.strip()
    if cause not in CAUSES:
        raise Invalid(
            "{cause!r} is not a cause that a person gives; {causes} are", cause=cause, causes=" and ".join(CAUSES)
        )
    if not 0 < len(reason) <= LONGEST:
        raise Invalid("say what changed, in at most {longest} characters, for the record", longest=LONGEST)

    def work(conn: Connection, actor: User) -> Done:
        found = products.named(conn, product)
        if not epochs.of_product(conn, found.id):
            raise Conflict("{product} has no calibration images yet: import or teach it first", product=product)
        made = epochs.open(conn, found.id, cause, reason, by=actor.id, now=now)
        return Done({"id": made.id}, None, {})

    request = {"product": product, "cause": cause, "reason": reason}
    done = perform(engine, actor, "epoch.open", request, work, least="engineer", key=key, now=now)
    with reading(engine) as conn:
        return epochs.get(conn, done["id"])
